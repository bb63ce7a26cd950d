import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startPostgres } from '../../scripts/set-up/postgres-server.ts';
import { postgres18BinDir, usePostgres } from '../postgres-server.ts';

const ROOT = path.join(import.meta.dirname, '../..');

async function untilGone(file: string): Promise<void> {
  while (existsSync(file)) await sleep(50);
}

describe('a PostgreSQL of our own', () => {
  const postgres = usePostgres({ settings: { max_connections: '42', fsync: 'on' } });

  it('answers on a loopback port with the settings that were asked for', async () => {
    expect(await postgres().psql('postgres', 'SHOW max_connections')).toBe('42');
    expect(await postgres().psql('postgres', 'SHOW fsync')).toBe('on');
    expect(await postgres().psql('postgres', 'SHOW TimeZone')).toBe('UTC');
  });

  it('asks for the password on TCP and on its socket', async () => {
    const lines = await postgres().psql('postgres', 'SELECT DISTINCT auth_method FROM pg_hba_file_rules');
    expect(lines).toBe('scram-sha-256');
  });

  it('makes databases of any name', async () => {
    await postgres().createDatabase('sales "2026"; $x');
    expect(await postgres().psql('sales "2026"; $x', 'SELECT current_database()')).toBe('sales "2026"; $x');
  });

  it('throws what psql says of a wrong statement', async () => {
    await expect(postgres().psql('postgres', 'SELECT 1;\nSELECT nonsense;')).rejects.toThrow(
      /column "nonsense" does not exist/,
    );
  });

  it('keeps its port and its data over a restart and over a kill -9', async () => {
    const { port } = postgres();
    await postgres().psql('postgres', 'CREATE TABLE kept AS SELECT generate_series(1, 10) AS n');
    await postgres().restart();
    await postgres().kill();
    await expect(postgres().psql('postgres', 'SELECT 1')).rejects.toThrow(/Connection refused/);
    await postgres().start();
    expect(await postgres().psql('postgres', 'SELECT count(*) FROM kept')).toBe('10');
    expect(postgres().port).toBe(port);
  });
});

describe('the end of a PostgreSQL of our own', () => {
  it('leaves no folder behind, even after a kill -9 of the server', async () => {
    const server = await startPostgres();
    await server.kill();
    await server.remove();
    expect(existsSync(path.dirname(server.dataDir))).toBe(false);
  });

  it('comes by itself when the process that started it is killed', async () => {
    const program = `
      import { startPostgres } from '${ROOT}/scripts/set-up/postgres-server.ts';
      const server = await startPostgres();
      console.log(JSON.stringify({ dataDir: server.dataDir }));
      setInterval(() => {}, 1000);
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const { dataDir } = JSON.parse(line.toString()) as { dataDir: string };
    expect(existsSync(path.join(dataDir, 'postmaster.pid'))).toBe(true);
    child.kill('SIGKILL');
    await untilGone(path.dirname(dataDir));
  });

  it('comes at once when the server cannot start, with the reason', async () => {
    await expect(startPostgres({ settings: { shared_buffers: 'plenty' } })).rejects.toThrow(
      /did not start:[\s\S]*invalid value for parameter "shared_buffers"/,
    );
  });
});

describe('a PostgreSQL newer than the installed client tools', () => {
  const postgres = usePostgres({ binDir: postgres18BinDir() });

  it('starts from its npm package and answers the installed psql', async () => {
    expect(await postgres().psql('postgres', 'SHOW server_version')).toMatch(/^18\./);
  });
});
