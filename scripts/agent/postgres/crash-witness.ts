import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { CrashWitness } from '../ports/target-server.ts';
import type { Connection } from './connection.ts';

/**
 * Sessions that load have to flush WAL before they may reuse a buffer, and hold locks meanwhile for which the others wait.
 * While WAL is flushed this often by another session, they find it done: two cores that load are idle half as long.
 */
const FLUSH_EVERY_MILLISECONDS = 30;

/**
 * A crash of the server ends every session, and nothing else tells a client that there was one: the postmaster and its
 * start time outlive it. So one session that was there all the while proves that no commit was lost, and a commit of its
 * own, which waits for the disk, flushes all that were made before
 * (https://www.postgresql.org/docs/current/wal-async-commit.html).
 */
export async function openCrashWitness(open: () => Promise<Connection>): Promise<CrashWitness> {
  const connection = await open();
  await connection.rows('SET synchronous_commit = local');
  const over = new AbortController();
  // What it meets, `settle` meets too: a connection that broke stays broken.
  const stopped = flushAgainAndAgain(connection, over.signal).catch(() => undefined);
  return {
    settle: async () => {
      over.abort();
      await stopped;
      await commit(connection).catch((cause: unknown) => {
        throw new LifeboatError(
          'RESTORE_FAILED',
          `A session that was to outlast the restore broke, so the server may have crashed and lost some of what was restored: ${(cause as Error).message}`,
          { cause },
        );
      });
    },
    close: async () => {
      over.abort();
      await connection.close();
      await stopped;
    },
  };
}

async function flushAgainAndAgain(connection: Connection, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    await commit(connection);
    await sleep(FLUSH_EVERY_MILLISECONDS, undefined, { signal: over });
  }
}

/** In a transaction that writes nothing, a commit would not wait. */
async function commit(connection: Connection): Promise<void> {
  await connection.rows("SELECT pg_logical_emit_message(true, 'lifeboat', '')");
}
