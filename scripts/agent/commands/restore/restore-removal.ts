import { LifeboatError } from '../../../../lib/domain/errors.ts';
import type { RestorePorts } from '../../ports/restore.ts';
import type { TargetServer } from '../../ports/target-server.ts';

/** What a restore, or a killed one before it, must not leave behind. */

/** The restore's own result stands, whichever it is: what cannot be tidied up is told, and the other steps still run. */
export async function tidyUp(ports: RestorePorts, steps: readonly (() => Promise<unknown>)[]): Promise<void> {
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      ports.log.warn(`Something was left behind: ${(error as Error).message}`);
    }
  }
}

/** A session that we may not end must not keep the restore from starting: the leftover only takes room. */
export async function dropLeftover(
  ports: RestorePorts,
  server: TargetServer,
  name: string,
  warnings: string[],
): Promise<void> {
  try {
    await server.dropDatabase(name);
  } catch (error) {
    const warning = `${name} could not be removed, the next restore tries again: ${(error as Error).message}`;
    ports.log.warn(warning);
    warnings.push(warning);
  }
}

/** Seconds in which a server that crashed is usually back. */
const RETURN_ATTEMPTS = 30;

/**
 * @param failure what led here
 * @returns what to report: `failure`, which must not claim a removal that did not happen
 */
export async function removeHalfMade(
  ports: RestorePorts,
  server: TargetServer,
  name: string,
  failure: unknown,
): Promise<unknown> {
  for (let left = RETURN_ATTEMPTS; ; left -= 1) {
    try {
      await server.dropDatabase(name);
      return failure;
    } catch (error) {
      const away = error instanceof LifeboatError && error.code === 'DB_CONNECT';
      if (away && left > 0 && !ports.interrupted.aborted) {
        await ports.clock.sleep(1000);
        continue;
      }
      const hint = `The next restore into the same target removes it, or: dropdb ${inShell(name)}`;
      ports.log.warn(
        `The half-made database ${name} could not be removed: ${(error as Error).message}\n${hint}`,
      );
      return keepsHalf(failure, name, hint);
    }
  }
}

function keepsHalf(failure: unknown, name: string, hint: string): unknown {
  if (!(failure instanceof LifeboatError)) return failure;
  return new LifeboatError(failure.code, failure.message, {
    hint: `Nothing was replaced, but the half-made database ${name} could not be removed. ${hint}`,
    cause: failure.cause,
  });
}

/** A name as a word of a shell command. */
export function inShell(name: string): string {
  return /^[\w.][\w.-]*$/.test(name) ? name : `'${name.replaceAll("'", String.raw`'\''`)}'`;
}
