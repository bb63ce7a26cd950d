/**
 * Every way Lifeboat can fail: one class, one registry. The registry maps a code to the process' exit status and to
 * the hint that is printed when the place that threw gave none.
 *
 * Exit statuses are few, so that a monitoring check or a shell script can tell them apart. 137, 168, 169 and 194 are
 * never used: the SSM agent reads a time-out, "success, skip the rest", "failure, skip the rest" and "reboot" into them.
 */

export const EXIT_STATUS = {
  success: 0,
  /** A defect in Lifeboat itself; the only case that prints a stack. */
  bug: 1,
  /** Wrong arguments or settings; nothing was started. */
  usage: 2,
  /** Refused before anything was touched: preflight, a target that holds data, a backup that is not there. */
  refused: 3,
  /** PostgreSQL or one of its tools failed. */
  database: 4,
  /** S3 (or what stands for it) failed or denied. */
  storage: 5,
  /** The local disk failed or is full. */
  disk: 6,
  /** Bytes or row counts are not what the manifest says. */
  integrity: 7,
  /** Another run of the same series holds the lock. */
  busy: 8,
  /** `status`: the last good backup is too old, or the last run failed. */
  attention: 9,
  interrupted: 130,
  terminated: 143,
} as const;

type ExitName = keyof typeof EXIT_STATUS;

const REGISTRY = {
  BUG: { exit: 'bug', hint: 'This is a defect in Lifeboat: please report it with the lines above.' },
  USAGE: { exit: 'usage', hint: 'Run: lifeboat --help' },
  SETTINGS_INVALID: {
    exit: 'usage',
    hint: 'Correct the settings in the environment or in .env, then run the command again.',
  },
  PREFLIGHT_FAILED: {
    exit: 'refused',
    hint: 'Mend every problem above, then run the command again. Nothing was touched.',
  },
  CLIENT_MISSING: {
    exit: 'refused',
    hint: 'Install the PostgreSQL client: sudo apt-get install postgresql-client-<major>',
  },
  CLIENT_TOO_OLD: {
    exit: 'refused',
    hint: 'Install the client of the server’s major version, or point PG_BIN_DIR at it.',
  },
  STANDBY_REFUSED: { exit: 'refused', hint: 'Back up the primary, or run again with --allow-standby.' },
  SERIES_MISMATCH: {
    exit: 'refused',
    hint: 'Choose another APP_NAME for this database, or confirm the move with --adopt-series.',
  },
  BACKUP_NOT_FOUND: { exit: 'refused', hint: 'Run: lifeboat list' },
  TARGET_NOT_EMPTY: {
    exit: 'refused',
    hint: 'Restore to another database with --to-database NAME, or add --replace (the old one is kept under another name).',
  },
  RESTORE_REFUSED: {
    exit: 'refused',
    hint: 'Mend what is named above, then run the restore again. Nothing was touched.',
  },
  TARGET_OUTSIDE_WINDOW: {
    exit: 'refused',
    hint: 'Choose a target within what is restorable, as listed above. Nothing was touched.',
  },
  IN_PLACE_UNFINISHED: {
    exit: 'refused',
    hint: 'Finish it: lifeboat restore --in-place --finish, or take it back: lifeboat restore --in-place --undo',
  },
  HOST_DIFFERS: {
    exit: 'refused',
    hint: 'Recover on a host like the one that the backup was made on. Nothing was touched.',
  },
  CLOCK_SET: { exit: 'refused', hint: 'Check the clock (timedatectl), then run: lifeboat retention' },
  MANIFEST_NEWER: {
    exit: 'refused',
    hint: 'This backup was made by a newer Lifeboat: install that version, then run the command again.',
  },
  DB_CONNECT: {
    exit: 'database',
    hint: 'Check DB_HOST, DB_PORT, DB_NAME, DB_USER and DB_PASSWORD, and that PostgreSQL is running.',
  },
  DB_RIGHTS: { exit: 'database', hint: 'Grant the right named above to DB_USER, or use a role that has it.' },
  DB_QUERY: { exit: 'database', hint: 'See the PostgreSQL message above and the server’s log.' },
  DB_LOST: {
    exit: 'database',
    hint: 'Is PostgreSQL running? See its log: it may have been restarted, or the network was cut. Run the command again.',
  },
  SLOT_EXISTS: {
    exit: 'refused',
    hint: 'Choose another slot, or look whose it is: SELECT * FROM pg_replication_slots;',
  },
  SLOT_MISSING: { exit: 'refused', hint: 'See which there are: SELECT * FROM pg_replication_slots;' },
  SLOT_LOST: {
    exit: 'database',
    hint: 'WAL is missing from there on. Drop the slot, let a new one be made, then run: lifeboat backup --kind base',
  },
  WAL_REMOVED: {
    exit: 'database',
    hint: 'That stretch cannot be streamed any more. Begin anew after it: lifeboat backup --kind base',
  },
  WAL_INCOMPLETE: {
    exit: 'database',
    hint: 'Without that WAL the backup could not be restored, so it does not count. Run it again; if it happens again, raise max_slot_wal_keep_size or wal_keep_size.',
  },
  WAL_CONFLICT: {
    exit: 'refused',
    hint: 'Two clusters write under one APP_NAME. Nothing was overwritten: give one of them another APP_NAME or S3_PREFIX.',
  },
  WAL_DIVERGED: {
    exit: 'refused',
    hint: 'The server was restored or failed over to a point before that WAL. Check that it is the right one, then run: lifeboat backup --kind base',
  },
  SYNC_STANDBY: {
    exit: 'refused',
    hint: 'Name the real standbys in synchronous_standby_names, without *, then: SELECT pg_reload_conf();',
  },
  DUMP_FAILED: {
    exit: 'database',
    hint: 'See pg_dump’s message above; the run left nothing behind. Run the backup again.',
  },
  RESTORE_FAILED: {
    exit: 'database',
    hint: 'See PostgreSQL’s message above; the half-made database was removed and nothing else was changed.',
  },
  SERVICE_FAILED: {
    exit: 'database',
    hint: 'See what the service said above, and PostgreSQL’s own log.',
  },
  S3_DENIED: {
    exit: 'storage',
    hint: 'Check the credentials (aws sts get-caller-identity) and that the policy allows the action named above.',
  },
  S3_NO_BUCKET: { exit: 'storage', hint: 'Check S3_BUCKET and AWS_REGION, or create the bucket.' },
  S3_UNAVAILABLE: { exit: 'storage', hint: 'S3 did not answer in time; run the command again.' },
  S3_FAILED: { exit: 'storage', hint: 'See S3’s answer above.' },
  OBJECT_EXISTS: {
    exit: 'storage',
    hint: 'Nothing was overwritten. Look at the object that is there, then run the backup again.',
  },
  DISK_FULL: {
    exit: 'disk',
    hint: 'Free space in BACKUP_DIR or point it at a larger disk, then run the command again.',
  },
  DISK_FAILED: { exit: 'disk', hint: 'Check that the folder exists and that this user may write to it.' },
  CORRUPT: { exit: 'integrity', hint: 'Do not restore from it; use another copy: lifeboat list' },
  PAGES_DAMAGED: {
    exit: 'integrity',
    hint: 'PostgreSQL’s own files are damaged: check the disk (dmesg), find what they belong to (pg_amcheck), and restore it from an older backup: lifeboat list',
  },
  ROWS_DIFFER: {
    exit: 'integrity',
    hint: 'The restored copy was removed and nothing was replaced; try another backup: lifeboat list',
  },
  BUSY: { exit: 'busy', hint: 'Wait until the other run has finished, then run the command again.' },
  ATTENTION: { exit: 'attention', hint: 'Run: lifeboat backup' },
  UNDELIVERED: { exit: 'attention', hint: 'Check the channel’s settings, then run: lifeboat notify --test' },
  SSM_FAILED: {
    exit: 'attention',
    hint: 'See SSM’s answer above; the Lambda’s log has the run’s id. What was not started can be started again.',
  },
  HOST_UNREACHABLE: {
    exit: 'attention',
    hint: 'Is the instance running, and does SSM manage it? aws ssm describe-instance-information',
  },
  RUN_ENDED: {
    exit: 'attention',
    hint: 'Look at the command’s output, and at PostgreSQL and memory on the host, then start the run again.',
  },
  RUN_LOST: {
    exit: 'attention',
    hint: 'Is the host alive? Run lifeboat status on it, then start the run again.',
  },
  RUN_REFUSED: {
    exit: 'refused',
    hint: 'Correct the series in lifeboat.config.json and deploy it, then start the run again.',
  },
  RUN_REPEATED: {
    exit: 'refused',
    hint: 'Nothing was done; the first run’s outcome stands. Start a new run: invoke start-run again.',
  },
  SECRET_UNREADABLE: {
    exit: 'refused',
    hint: 'Check that the secret is there and that the host’s role may read it (secretsmanager:GetSecretValue).',
  },
  INSTALL_FAILED: {
    exit: 'refused',
    hint: 'See what the system said above. lifeboat install --print shows what is to be written where.',
  },
  INTERRUPTED: {
    exit: 'interrupted',
    hint: 'Nothing half-made was left behind; run the command again when ready.',
  },
  TERMINATED: {
    exit: 'terminated',
    hint: 'Nothing half-made was left behind; run the command again when ready.',
  },
  RUN_KILLED: {
    exit: 'terminated',
    hint: 'Look for who killed it, such as the kernel short of memory (journalctl -k), then start a new run: it clears away what is left.',
  },
} as const satisfies Record<string, { exit: ExitName; hint: string }>;

export type ErrorCode = keyof typeof REGISTRY;

export const ERROR_CODES = Object.keys(REGISTRY) as ErrorCode[];

export interface ErrorDetails {
  /** What to run or change next; the registry's hint for the code when left out. */
  readonly hint?: string;
  readonly cause?: unknown;
  /** Several problems found in one go (preflight, settings); each is printed. */
  readonly problems?: readonly LifeboatError[];
}

/** `message` says what failed, on what, and the value seen. */
export class LifeboatError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly problems: readonly LifeboatError[];

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'LifeboatError';
    this.code = code;
    this.hint = details.hint ?? REGISTRY[code].hint;
    this.problems = details.problems ?? [];
  }

  get exitStatus(): number {
    return EXIT_STATUS[REGISTRY[this.code].exit];
  }
}

/** One problem is thrown as it is; several become one PREFLIGHT_FAILED that carries them all. */
export function combineProblems(problems: readonly LifeboatError[]): LifeboatError | undefined {
  if (problems.length <= 1) return problems[0];
  const list = problems.map((problem) => `- ${problem.message}\n  ${problem.hint}`).join('\n');
  return new LifeboatError('PREFLIGHT_FAILED', `${problems.length} problems found:\n${list}`, { problems });
}

/** Whatever was thrown, as a LifeboatError; what is none yet is a defect. */
export function asLifeboatError(thrown: unknown): LifeboatError {
  if (thrown instanceof LifeboatError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new LifeboatError('BUG', message, { cause: thrown });
}
