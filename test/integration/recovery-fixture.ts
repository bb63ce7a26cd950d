import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import {
  findPostgresBinDir,
  reachableTempDir,
  serverUser,
} from '../../scripts/set-up/postgres-installation.ts';
import type { PostgresServer } from '../postgres-server.ts';
import { isAlive, type AgentEnd } from './agent-process.ts';
import type { Stage } from './backup-fixture.ts';

export interface RecoveryJson {
  readonly succeeded: boolean;
  readonly base: string;
  readonly dataDir: string;
  readonly socketDir: string;
  readonly port: number;
  readonly timeline: number;
  readonly reached: {
    readonly lsn: string | null;
    readonly lastCommit: string | null;
    readonly timeline: number | null;
    readonly endOfWal: boolean;
  };
  readonly segments: number;
  readonly verifiedFiles: number;
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
}

const user = serverUser();
const PAUSE = new Int32Array(new SharedArrayBuffer(4));

/** Folders for recovered clusters, and the servers that run in them. */
export class RecoveryGround {
  readonly root: string;
  readonly #origin: PostgresServer;
  #count = 0;

  constructor(origin: PostgresServer) {
    this.#origin = origin;
    this.root = mkdtempSync(path.join(reachableTempDir(user), 'lifeboat-rec-'));
    chmodSync(this.root, 0o755);
    if (user) chownSync(this.root, user.uid, user.gid);
  }

  folder(): string {
    this.#count += 1;
    return path.join(this.root, `data${this.#count}`);
  }

  async run(stage: Stage, args: readonly string[], env = {}): Promise<{ end: AgentEnd; json: RecoveryJson }> {
    const end = await stage.run(['restore', ...args, '--json'], { PG_BIN_DIR: this.#origin.binDir, ...env });
    return { end, json: end.json() as RecoveryJson };
  }

  /** @throws Error with all that was printed unless it went well */
  async recover(stage: Stage, ...args: readonly string[]): Promise<RecoveryJson> {
    const { end, json } = await this.run(stage, [...args, '--data-dir', this.folder()]);
    if (end.status !== 0) throw new Error(`restore ended with ${end.status}:\n${end.printed}`);
    return json;
  }

  psql({ socketDir, port }: Pick<RecoveryJson, 'socketDir' | 'port'>, sql: string): string {
    const args = [
      '-XAtq',
      '-v',
      'ON_ERROR_STOP=1',
      '-h',
      socketDir,
      '-p',
      String(port),
      '-U',
      this.#origin.superuser,
    ];
    return execFileSync(path.join(findPostgresBinDir(), 'psql'), [...args, '-d', 'postgres'], {
      input: sql,
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], PGPASSWORD: this.#origin.password },
    }).trim();
  }

  /** Makes a folder as the servers' user would. */
  makeFolder(folder: string): void {
    mkdirSync(folder, { mode: 0o700 });
    if (user) chownSync(folder, user.uid, user.gid);
  }

  /** To the servers' user, with all that is below. */
  give(folder: string): void {
    if (user) execFileSync('chown', ['-R', `${user.uid}:${user.gid}`, folder]);
  }

  /** Runs a program, such as the server's own, as the servers' user. @returns what it prints; throws with that when it fails */
  runAsServer(program: string, args: readonly string[]): string {
    const env = {
      PATH: `${this.#origin.binDir}:${process.env['PATH']}`,
      LC_ALL: 'C.UTF-8',
      PGCTLTIMEOUT: '240',
    };
    return execFileSync(program, args, { encoding: 'utf8', cwd: this.root, env, ...user });
  }

  /** Ends the servers and removes all. */
  remove(): void {
    for (let number = 1; number <= this.#count; number += 1) this.end(path.join(this.root, `data${number}`));
    rmSync(this.root, { recursive: true, force: true });
  }

  /** Ends a server, paused or not, and has it go on from what lies there. @throws Error unless it comes up */
  restart(dataDir: string): void {
    const log = path.join(dataDir, 'restart.log');
    const args = ['-D', dataDir, '-w', '-m', 'fast', '-l', log, 'restart'];
    try {
      this.runAsServer('pg_ctl', args);
    } catch (error) {
      throw new Error(existsSync(log) ? readFileSync(log, 'utf8') : 'no log', { cause: error });
    }
  }

  end(dataDir: string): void {
    const pid = postmasterOf(dataDir);
    if (pid === undefined) return;
    try {
      process.kill(pid, 'SIGQUIT');
    } catch {
      // It ended by itself.
    }
    // Until then it writes to what may be removed next.
    while (isAlive(pid)) Atomics.wait(PAUSE, 0, 0, 20);
  }
}

export function postmasterOf(dataDir: string): number | undefined {
  const file = path.join(dataDir, 'postmaster.pid');
  return existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : undefined;
}
