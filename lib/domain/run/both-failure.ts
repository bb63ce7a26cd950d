import { EXIT_STATUS, LifeboatError } from '../errors.ts';

/** How one half of `backup --kind both` ended. */
export interface BackupPart {
  /** The id or the label of what was made and stands. */
  readonly made?: string | undefined;
  readonly failure?: LifeboatError | undefined;
}

/** Exit statuses, the worst first. */
const SEVERITY: readonly number[] = [
  EXIT_STATUS.bug,
  EXIT_STATUS.terminated,
  EXIT_STATUS.interrupted,
  EXIT_STATUS.integrity,
  EXIT_STATUS.database,
  EXIT_STATUS.storage,
  EXIT_STATUS.disk,
  EXIT_STATUS.refused,
  EXIT_STATUS.usage,
  EXIT_STATUS.busy,
];

/**
 * One failure for the two, which says what failed and what stands; with the code of the worse.
 * @param base `undefined`: it was not begun, because somebody ended the run
 */
export function failureOfBoth(dump: BackupPart, base: BackupPart | undefined): LifeboatError | undefined {
  if (!base) return dump.failure;
  if (dump.failure && base.failure) return bothFailed(dump.failure, base.failure);
  if (dump.failure) return oneFailed(dump.failure, 'dump', `the base backup ${base.made ?? ''} stands`);
  if (base.failure) return oneFailed(base.failure, 'base backup', `the dump ${dump.made ?? ''} stands`);
  return undefined;
}

function oneFailed(failure: LifeboatError, what: string, stands: string): LifeboatError {
  const { code, message, hint } = failure;
  return new LifeboatError(code, `The ${what} failed, ${stands}: ${message}`, { hint, cause: failure });
}

function bothFailed(dump: LifeboatError, base: LifeboatError): LifeboatError {
  const worse = severityOf(base) < severityOf(dump) ? base : dump;
  const message =
    dump.message === base.message
      ? `Dump and base backup failed: ${dump.message}`
      : `Dump and base backup failed.\nDump: ${dump.message}\nBase backup: ${base.message}`;
  const hint = dump.hint === base.hint ? dump.hint : `${dump.hint}\nBase backup: ${base.hint}`;
  return new LifeboatError(worse.code, message, { hint, cause: worse });
}

/** The lower the worse. */
function severityOf({ exitStatus }: LifeboatError): number {
  const place = SEVERITY.indexOf(exitStatus);
  return place === -1 ? SEVERITY.length : place;
}
