import { openCrashWitness } from '../../scripts/agent/postgres/crash-witness.ts';
import { connect, type Connection } from '../../scripts/agent/postgres/connection.ts';
import { startPostgres, type PostgresServer } from '../../scripts/set-up/postgres-server.ts';

let postgres: PostgresServer;
beforeAll(async () => {
  postgres = await startPostgres({ settings: { wal_writer_delay: '10s' } });
});
afterAll(() => postgres.remove());

function open(): Promise<Connection> {
  const { host, port, superuser: user, password } = postgres;
  return connect({ host, port, user, password, name: 'postgres', binDir: undefined }, {}, 'postgres');
}

it('flushes what sessions committed without waiting for the disk', async () => {
  const witness = await openCrashWitness(open);
  const session = await open();
  await session.rows('SET synchronous_commit = off');
  await session.rows('CREATE TABLE public.kept AS SELECT 42 AS answer');
  await witness.settle();
  await postgres.kill();
  await postgres.start();
  expect(await postgres.psql('postgres', 'SELECT answer FROM kept')).toBe('42');
  await session.close();
  await witness.close();
});

it('tells of a crash, although the server is back', async () => {
  const witness = await openCrashWitness(open);
  await postgres.kill();
  await postgres.start();
  await expect(witness.settle()).rejects.toMatchObject({ code: 'RESTORE_FAILED' });
  await witness.close();
});

it('tells of a crash of a single backend, which the postmaster and its start time outlive', async () => {
  const started = await postgres.psql('postgres', 'SELECT pg_postmaster_start_time()');
  const witness = await openCrashWitness(open);
  const [victim] = await (await open()).rows<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  process.kill(victim!.pid, 'SIGKILL');
  await expect(
    (async () => {
      for (;;) await witness.settle();
    })(),
  ).rejects.toMatchObject({ code: 'RESTORE_FAILED' });
  await witness.close();
  for (;;) {
    const now = await postgres.psql('postgres', 'SELECT pg_postmaster_start_time()').catch(() => undefined);
    if (now !== undefined) {
      expect(now).toBe(started);
      return;
    }
  }
});
