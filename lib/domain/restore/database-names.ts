import { LifeboatError } from '../errors.ts';
import { byteLength, cutToBytes } from './sql.ts';

/**
 * A restore works beside: in `<target>_restoring_<time>`, which becomes the target by rename, while what stood there
 * becomes `<target>_before_<time>`. PostgreSQL cuts names at 63 bytes silently, and would cut the time, so that two
 * restores of a long name would meet: the target's part is cut instead.
 */
export interface DatabaseNames {
  readonly restoring: string;
  readonly before: string;
}

const NAME_BYTES = 63;

/**
 * @param taken names of databases that exist; the time is moved on by whole seconds until both names are free
 */
export function chooseDatabaseNames(target: string, now: Date, taken: readonly string[]): DatabaseNames {
  const existing = new Set(taken);
  for (let second = 0; ; second += 1) {
    const time = compactTime(new Date(now.getTime() + second * 1000));
    const names = {
      restoring: withSuffix(target, `_restoring_${time}`),
      before: withSuffix(target, `_before_${time}`),
    };
    if (!existing.has(names.restoring) && !existing.has(names.before)) return names;
  }
}

/** Whether `name` is one that a restore into `target` gives its unfinished work. */
export function isRestoringName(name: string, target: string): boolean {
  const time = /_restoring_\d{14}$/.exec(name)?.[0];
  return time !== undefined && name === withSuffix(target, time);
}

/**
 * Written as the unfinished database's comment, so that a later restore knows it for the work of a run that was killed,
 * and for which target; a database of that name without it is left alone.
 */
export function restoringMark(target: string, backup: string, runId: string): string {
  return `lifeboat: restoring ${JSON.stringify({ target, backup, runId })}`;
}

/** Whether a restore of this target left the database behind; a comment of a person's is none. */
export function isRestoringMark(comment: string | null, target: string): boolean {
  return comment?.startsWith(`lifeboat: restoring {"target":${JSON.stringify(target)},`) ?? false;
}

/** @throws LifeboatError USAGE for a name that PostgreSQL would cut or refuse, or that must stay what it is. */
export function requireTargetName(name: string): string {
  const problem = targetNameProblem(name);
  if (!problem) return name;
  throw new LifeboatError(
    'USAGE',
    `${JSON.stringify(name)} cannot be the database to restore into: ${problem}`,
    {
      hint: 'Name another database: set DB_NAME or add --to-database NAME.',
    },
  );
}

function targetNameProblem(name: string): string | undefined {
  if (name === '') return 'it is empty';
  if (name.includes('\0')) return 'it holds a zero byte';
  if (byteLength(name) > NAME_BYTES)
    return `it has ${byteLength(name)} bytes; PostgreSQL keeps ${NAME_BYTES}`;
  if (name === 'template0' || name === 'template1') return 'new databases are made from it';
  return undefined;
}

function withSuffix(target: string, suffix: string): string {
  return cutToBytes(target, NAME_BYTES - suffix.length) + suffix;
}

/** `20260117020000`, UTC. */
function compactTime(time: Date): string {
  return time.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '');
}
