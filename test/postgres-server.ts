import { createRequire } from 'node:module';
import path from 'node:path';
import {
  startPostgres,
  type PostgresOptions,
  type PostgresServer,
} from '../scripts/set-up/postgres-server.ts';

export { startPostgres, type PostgresOptions, type PostgresServer };

/**
 * One PostgreSQL for the whole test file: started before its first test, removed after its last.
 * Call it at the file's top level; what it returns may be called inside tests and hooks.
 */
export function usePostgres(options: PostgresOptions = {}): () => PostgresServer {
  let server: PostgresServer | undefined;
  beforeAll(async () => {
    server = await startPostgres(options);
  });
  afterAll(async () => {
    await server?.remove();
  });
  return () => {
    if (!server) throw new Error('usePostgres: the server runs only between beforeAll and afterAll');
    return server;
  };
}

/** A server newer than Debian's client tools: `initdb`, `pg_ctl` and `postgres` only. */
export function postgres18BinDir(): string {
  const entry = createRequire(path.join(import.meta.dirname, 'x.js')).resolve('postgresql-18');
  return path.join(path.dirname(entry), '..', 'native', 'bin');
}
