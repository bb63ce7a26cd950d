import { countRows, DATABASE } from '../database.ts';
import { runRounds, type Results } from '../rounds.ts';
import type { Stage } from '../stage.ts';
import type { OnRun, Report } from '../times.ts';
import { baseBackupContenders } from './base-backups.ts';
import { baseRestoreContenders } from './base-restores.ts';
import { agentCommand, agentFolder, archiveWith, clear, openGround, type PitrGround } from './ground.ts';
import { pgBackRestVersion } from './pgbackrest.ts';
import { describePitr } from './pitr-report.ts';
import { drainContenders, makeBacklog, withStream, until, type Backlog } from './wal-backlog.ts';
import { replayContenders } from './wal-replay.ts';
import { measure } from '../measured-run.ts';

/** archive_mode needs a restart, so it is on from the start; nothing is archived before someone is told to. */
export const PITR_SETTINGS = { archive_mode: 'on', archive_command: '' };

export const PITR_PARTS = ['bases', 'drain', 'replay'] as const;
export type PitrPart = (typeof PITR_PARTS)[number];

interface PitrOptions {
  /** Everything when left out. */
  readonly only?: PitrPart | undefined;
  readonly rounds: number;
  readonly signal: AbortSignal;
  readonly onRun: OnRun;
}

/** Base backups, WAL and recovery, beside pgBackRest. */
export async function measurePitr(stage: Stage, options: PitrOptions): Promise<Report> {
  const { only } = options;
  const ground = await openGround(stage, options.signal);
  try {
    const base = only === undefined || only === 'bases' ? await measureBases(ground, options) : [];
    const wal = only === 'bases' ? [] : await measureWal(ground, options);
    const report = describePitr(new Map([...base, ...wal]));
    return { ...report, facts: [`- pgBackRest ${pgBackRestVersion()}`] };
  } finally {
    await ground.close();
  }
}

async function measureBases(ground: PitrGround, { rounds, onRun }: PitrOptions): Promise<Results> {
  const { stage, inFolder } = ground;
  inFolder.run('stanza-create');
  await archiveWith(ground, inFolder.archiveCommand('archive-push'));
  const contenders = baseBackupContenders(ground);
  // Reads all files once before anything is timed.
  await contenders[0]?.run();
  const backups = await runRounds(contenders, rounds, onRun);
  const expected = await countRows(stage.postgres, DATABASE);
  const restores = await runRounds(baseRestoreContenders(ground, expected), rounds, onRun);
  return new Map([...backups, ...restores]);
}

async function measureWal(ground: PitrGround, { only, rounds, onRun }: PitrOptions): Promise<Results> {
  await prepareWal(ground);
  const backlogs: Backlog[] = [];
  const drains = drainContenders(ground, () => backlogs.at(-1)!);
  // Both sides' archives get what is to be replayed.
  const [chosen, drainRounds] =
    only === 'replay' ? [drains.filter(({ id }) => id !== 'push drain'), 1] : [drains, rounds];
  const drained = await runRounds(chosen, drainRounds, onRun, async (round) => {
    backlogs.push(await makeBacklog(ground, round));
  });
  if (only === 'drain') return drained;
  const replayed = await runRounds(replayContenders(ground, backlogs[0]!), rounds, onRun);
  return new Map([...drained, ...replayed]);
}

/** Each with a base backup in S3, and all WAL behind it to come. */
async function prepareWal(ground: PitrGround): Promise<void> {
  const { stage, inS3, signal } = ground;
  inS3.run('stanza-create');
  await archiveWith(ground, inS3.archiveCommand('archive-push'));
  const folder = agentFolder(ground, 'wal');
  clear(folder);
  // Makes its slot, which holds the WAL from here on.
  await withStream(ground, () => until(ground, 'SELECT count(*) = 1 FROM pg_replication_slots WHERE active'));
  inS3.run('--type=full', 'backup');
  await measure(agentCommand(ground, ['backup', '--kind', 'base'], { folder, s3: true }), {
    signal,
    agent: true,
  });
  await archiveWith(ground, '');
  await stage.postgres.psql('postgres', 'CHECKPOINT');
  // A backlog stays where it is until each has had its turn. Not in the base backups: the servers that replay it have their own.
  await stage.postgres.psql('postgres', `ALTER SYSTEM SET wal_keep_size = '3GB'`);
  await stage.postgres.psql('postgres', 'SELECT pg_reload_conf()');
}
