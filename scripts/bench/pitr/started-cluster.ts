import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { freePort } from '../../set-up/free-port.ts';
import { serverUser } from '../../set-up/postgres-installation.ts';
import type { PostgresServer } from '../../set-up/postgres-server.ts';
import { runPsql } from '../../set-up/psql.ts';
import type { PitrGround } from './ground.ts';

const START_LIMIT_MS = 600_000;

/** What a restored cluster must not do, wherever its configuration comes from. */
const QUIET = { archive_mode: 'off', listen_addresses: '127.0.0.1' };

/**
 * Starts the cluster in `dataDir`, waits until it is open for writing, and stops it.
 * @param look what to do with it while it is open
 * @throws LifeboatError DB_CONNECT with its last words when it does not start
 */
export async function startAndStop(
  { stage, folder }: PitrGround,
  dataDir: string,
  look: (psql: PostgresServer['psql']) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  const port = await freePort();
  const own = { ...QUIET, port: String(port), unix_socket_directories: folder, hot_standby: 'off' };
  const options = Object.entries(own).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const server = spawn(path.join(stage.binDir, 'postgres'), ['-D', dataDir, ...options], {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C.UTF-8', TZ: 'UTC' },
    stdio: ['ignore', 'ignore', 'pipe'],
    ...serverUser(),
  });
  let said = '';
  server.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4000)));
  const gone = once(server, 'exit');
  try {
    const limit = Date.now() + START_LIMIT_MS;
    while (!isReady(dataDir, server.pid)) {
      if (server.exitCode !== null || Date.now() > limit)
        throw new LifeboatError('DB_CONNECT', `The cluster in ${dataDir} did not start:\n${said}`);
      await sleep(10);
    }
    const { superuser, password } = stage.postgres;
    const settings = { DB_HOST: folder, DB_PORT: String(port), DB_USER: superuser, DB_PASSWORD: password };
    await look((database, sql) => runPsql(settings, database, sql));
  } finally {
    server.kill('SIGINT');
    await gone;
  }
}

function isReady(dataDir: string, pid: number | undefined): boolean {
  try {
    const lines = readFileSync(path.join(dataDir, 'postmaster.pid'), 'utf8').split('\n');
    return lines[0] === String(pid) && (lines[7] ?? '').startsWith('ready');
  } catch {
    return false; // not written yet
  }
}
