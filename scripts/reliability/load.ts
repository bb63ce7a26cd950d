import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { runProgram } from '../set-up/run-program.ts';
import type { ToldCommit } from './evidence.ts';
import type { Stage } from './stage.ts';

export interface LoadOptions {
  readonly scale: number;
  readonly clients: number;
  /** Transactions a second; as many as go when left out. */
  readonly rate?: number | undefined;
  /** Tells one load's rows from another's. */
  readonly round: number;
}

/** pgbench's own transaction, and a row that says which one of which client it was. */
const TRANSACTION = `
\\set aid random(1, 100000 * :scale)
\\set bid random(1, 1 * :scale)
\\set tid random(1, 10 * :scale)
\\set delta random(-5000, 5000)
\\set n :n + 1
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
INSERT INTO told (round, client, n) VALUES (:round, :client_id, :n);
END;
`;

/** @throws LifeboatError DB_QUERY */
export async function prepareLoad(stage: Stage, scale: number): Promise<void> {
  const args = ['--initialize', '--quiet', `--scale=${scale}`, 'postgres'];
  await runProgram(path.join(stage.binDir, 'pgbench'), args, { env: environment(stage) });
  await stage.postgres.psql('postgres', 'CREATE TABLE told (round int, client int, n int)');
}

/**
 * Clients that are not on the host: pgbench, whose log notes each commit that the server told it of, with the time, in a file
 * of its own.
 */
export class Load {
  readonly #folder: string;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #stage: Stage;
  #complaints = '';

  constructor(stage: Stage, options: LoadOptions) {
    const { scale, clients, rate, round } = options;
    this.#stage = stage;
    this.#folder = path.join(stage.folder, `client-${round}`);
    mkdirSync(this.#folder);
    const script = path.join(this.#folder, 'transaction.sql');
    writeFileSync(script, TRANSACTION);
    const args = ['--no-vacuum', '--protocol=prepared', '--time=86400', `--client=${clients}`];
    args.push(`--scale=${scale}`, `--file=${script}`, '--define=n=0', `--define=round=${round}`);
    args.push('--log', `--log-prefix=${path.join(this.#folder, 'told')}`);
    if (rate !== undefined) args.push(`--rate=${rate}`);
    this.#child = spawn(path.join(stage.binDir, 'pgbench'), [...args, 'postgres'], {
      env: environment(stage),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#complaints += text));
    this.#ended = once(this.#child, 'close');
  }

  /** It ends by itself when the server is gone. @returns what it was told of */
  async told(): Promise<ToldCommit[]> {
    await this.#ended;
    const files = readdirSync(this.#folder).filter((name) => name.startsWith('told.'));
    if (files.length === 0) throw new LifeboatError('BUG', `pgbench left no log:\n${this.#complaints}`);
    return files.flatMap((name) => parseToldLog(readFileSync(path.join(this.#folder, name), 'utf8')));
  }

  /** Ends its sessions, after which it writes what it still holds of its log. @returns what it was told of */
  async stop(): Promise<ToldCommit[]> {
    await this.#stage.postgres.psql(
      'postgres',
      `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pgbench'`,
    );
    return await this.told();
  }

  /** Whatever it does. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

/** pgbench's log: client, number of its transaction, duration, script, seconds and microseconds since 1970. */
function parseToldLog(text: string): ToldCommit[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [client, n, , , seconds, microseconds] = line.split(' ').map(Number);
      return { client: client!, n: n!, at: seconds! * 1000 + microseconds! / 1000 };
    });
}

function environment({ postgres }: Stage): NodeJS.ProcessEnv {
  return {
    PATH: process.env['PATH'] ?? '',
    PGHOST: postgres.host,
    PGPORT: String(postgres.port),
    PGUSER: postgres.superuser,
    PGPASSWORD: postgres.password,
    LC_ALL: 'C.UTF-8',
  };
}
