import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, closeSync, mkdirSync, mkdtempSync, openSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { freePort } from './free-port.ts';
import * as installation from './postgres-installation.ts';
import {
  childrenOf,
  endProcesses,
  releaseShared,
  sharedMemoryOf,
  type SharedMemory,
} from './postgres-remains.ts';
import { runPsql, type ConnectionEnvironment } from './psql.ts';
import { runProgram } from './run-program.ts';
import { startWatchdog, type Watchdog } from './watchdog.ts';

/** A PostgreSQL server of our own for the demo, the tests and the bench: own folder, own port, gone when we are. */
export interface PostgresServer {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly socketDir: string;
  readonly superuser: string;
  readonly password: string;
  readonly dataDir: string;
  readonly binDir: string;
  /** The server's own log. */
  readonly logFile: string;
  /** The agent's settings for this server; DB_NAME is the caller's. */
  readonly env: ConnectionEnvironment;
  /**
   * Feeds `sql` to the real psql (-XAtq, ON_ERROR_STOP) and returns what it prints, without the last line feed.
   * @throws LifeboatError DB_QUERY with psql's own words.
   */
  psql(database: string, sql: string): Promise<string>;
  createDatabase(name: string): Promise<void>;
  /** Starts it again, on the same port, after stop() or kill(). */
  start(): Promise<void>;
  stop(mode?: StopMode): Promise<void>;
  restart(): Promise<void>;
  /** SIGKILL to the postmaster, as a crash of the machine would look to clients. */
  kill(): Promise<void>;
  /** Stops it and removes all that it made. */
  remove(): Promise<void>;
}

type StopMode = 'smart' | 'fast' | 'immediate';

export interface PostgresOptions {
  /** The folder of `initdb` and `postgres`; the newest installed one when left out. */
  readonly binDir?: string;
  /** Lines for postgresql.conf; they win over the defaults here. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly initdbArgs?: readonly string[];
  readonly superuser?: string;
  readonly password?: string;
}

/** Characters that a shell, a URL, a connection string or .pgpass would each trip on. */
const AWKWARD_PASSWORD = `s3cret '"$x\\:@/%41`;
const STOP_SIGNAL: Record<StopMode, NodeJS.Signals> = {
  smart: 'SIGTERM',
  fast: 'SIGINT',
  immediate: 'SIGQUIT',
};
const START_LIMIT_MS = 240_000;
const PORT_ATTEMPTS = 5;

/**
 * Makes a cluster in a temporary folder and starts it on a free loopback port, with password authentication. As root
 * it runs as another user. A watchdog ends it and removes the folder should this process die before remove().
 * @throws LifeboatError CLIENT_MISSING when PostgreSQL is not installed, DB_CONNECT when it does not start.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const user = installation.serverUser();
  const root = mkdtempSync(path.join(installation.reachableTempDir(user), 'lifeboat-pg-'));
  const watchdog = startWatchdog(root);
  try {
    const server = new OwnPostgres({ options, user, root, watchdog });
    await server.initialise();
    await server.start();
    return server;
  } catch (error) {
    await rm(root, { recursive: true, force: true });
    await watchdog.end();
    throw error;
  }
}

interface Ground {
  readonly options: PostgresOptions;
  readonly user: installation.ServerUser | undefined;
  readonly root: string;
  readonly watchdog: Watchdog;
}

class OwnPostgres implements PostgresServer {
  readonly host = '127.0.0.1';
  readonly socketDir: string;
  readonly superuser: string;
  readonly password: string;
  readonly dataDir: string;
  readonly binDir: string;
  readonly logFile: string;
  port = 0;
  readonly #ground: Ground;
  #postmaster: ChildProcess | undefined;
  /** What a killed postmaster left in shared memory; the next start clears it, or else remove() does. */
  #remains: SharedMemory | undefined;

  constructor(ground: Ground) {
    const { options, root, user } = ground;
    this.#ground = ground;
    this.superuser = options.superuser ?? 'postgres';
    this.password = options.password ?? AWKWARD_PASSWORD;
    this.dataDir = path.join(root, 'data');
    this.socketDir = path.join(root, 'socket');
    this.logFile = path.join(root, 'server.log');
    const binDir = options.binDir ?? installation.findPostgresBinDir();
    installation.completeSymlinks(binDir);
    // The user that the server runs as must be able to read its programs; node_modules may lie in a private folder.
    chmodSync(root, 0o755);
    this.binDir = installation.canReach(binDir, user)
      ? binDir
      : installation.copyInstallation(binDir, path.join(root, 'postgresql'));
  }

  get env(): ConnectionEnvironment {
    return {
      DB_HOST: this.host,
      DB_PORT: String(this.port),
      DB_USER: this.superuser,
      DB_PASSWORD: this.password,
    };
  }

  async initialise(): Promise<void> {
    const { root, user, options } = this.#ground;
    for (const folder of [this.dataDir, this.socketDir]) {
      mkdirSync(folder, { mode: folder === this.dataDir ? 0o700 : 0o755 });
      if (user) chownSync(folder, user.uid, user.gid);
    }
    const passwordFile = path.join(root, 'password');
    await writeFile(passwordFile, `${this.password}\n`, { mode: 0o600 });
    if (user) chownSync(passwordFile, user.uid, user.gid);
    await runProgram(
      path.join(this.binDir, 'initdb'),
      [...this.#initdbArgs(passwordFile), ...(options.initdbArgs ?? [])],
      { env: this.#serverEnvironment(), cwd: root, ...user },
    );
    await rm(passwordFile);
    await writeFile(path.join(this.dataDir, 'postgresql.conf'), "\ninclude 'lifeboat.conf'\n", { flag: 'a' });
  }

  #initdbArgs(passwordFile: string): string[] {
    return [
      `--pgdata=${this.dataDir}`,
      `--username=${this.superuser}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C.UTF-8',
      '--lc-messages=C',
      '--data-checksums',
      // Only initdb's own files go unsynced; what the server writes later is synced as it always is.
      '--no-sync',
    ];
  }

  async start(): Promise<void> {
    if (this.#postmaster) return;
    if (this.port !== 0) return this.#startOn(this.port);
    for (let attempt = 1; ; attempt++) {
      const port = await freePort();
      try {
        await this.#startOn(port);
        this.port = port;
        return;
      } catch (error) {
        // Another process may take the port between our look and the server's bind.
        if (attempt === PORT_ATTEMPTS || !this.#log().includes('could not bind')) throw error;
      }
    }
  }

  async #startOn(port: number): Promise<void> {
    const { root, user, watchdog } = this.#ground;
    await this.#writeSettings(port);
    const log = openSync(this.logFile, 'w');
    const postmaster = spawn(path.join(this.binDir, 'postgres'), ['-D', this.dataDir], {
      cwd: root,
      env: this.#serverEnvironment(),
      stdio: ['ignore', log, log],
      // Its own session: Ctrl-C in our terminal must reach us, not the server that we still need for tidying up.
      detached: true,
      ...user,
    });
    closeSync(log);
    watchdog.watch(postmaster.pid);
    postmaster.once('exit', () => {
      if (this.#postmaster === postmaster) this.#postmaster = undefined;
      watchdog.watch(undefined);
    });
    this.#postmaster = postmaster;
    await this.#untilReady(postmaster);
    this.#remains = undefined;
    postmaster.unref();
  }

  async #untilReady(postmaster: ChildProcess): Promise<void> {
    const limit = Date.now() + START_LIMIT_MS;
    while (postmaster.exitCode === null && postmaster.signalCode === null && Date.now() < limit) {
      if (this.#isReady(postmaster.pid)) return;
      await sleep(10);
    }
    postmaster.kill('SIGQUIT');
    throw new LifeboatError('DB_CONNECT', `PostgreSQL in ${this.dataDir} did not start:\n${this.#log()}`, {
      hint: `Its programs are those of ${this.binDir}.`,
    });
  }

  /** The postmaster writes its state into the eighth line of its pid file, as pg_ctl reads it. */
  #isReady(pid: number | undefined): boolean {
    try {
      const lines = readFileSync(path.join(this.dataDir, 'postmaster.pid'), 'utf8').split('\n');
      return lines[0] === String(pid) && /^(ready|standby)/.test(lines[7] ?? '');
    } catch {
      return false; // not written yet
    }
  }

  async #writeSettings(port: number): Promise<void> {
    const settings = {
      port: String(port),
      listen_addresses: '127.0.0.1',
      unix_socket_directories: this.socketDir,
      max_connections: '60',
      timezone: 'UTC',
      log_timezone: 'UTC',
      log_line_prefix: '%m [%p] %q%u@%d ',
      ...this.#ground.options.settings,
    };
    const lines = Object.entries(settings).map(
      ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`,
    );
    const file = path.join(this.dataDir, 'lifeboat.conf');
    await writeFile(file, `${lines.join('\n')}\n`);
    chmodSync(file, 0o644);
  }

  async stop(mode: StopMode = 'fast'): Promise<void> {
    const postmaster = this.#postmaster;
    if (!postmaster) return;
    postmaster.ref();
    const gone = once(postmaster, 'exit');
    postmaster.kill(STOP_SIGNAL[mode]);
    await gone;
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async kill(): Promise<void> {
    const postmaster = this.#postmaster;
    if (!postmaster?.pid) return;
    // Else it might start another child while we look.
    postmaster.kill('SIGSTOP');
    const children = childrenOf(postmaster.pid);
    this.#remains = sharedMemoryOf([postmaster.pid, ...children]);
    postmaster.ref();
    const gone = once(postmaster, 'exit');
    postmaster.kill('SIGKILL');
    await gone;
    await endProcesses(children);
  }

  async remove(): Promise<void> {
    await this.stop('immediate');
    if (this.#remains) await releaseShared(this.#remains);
    this.#remains = undefined;
    await rm(this.#ground.root, { recursive: true, force: true });
    await this.#ground.watchdog.end();
  }

  psql(database: string, sql: string): Promise<string> {
    return runPsql(this.env, database, sql);
  }

  async createDatabase(name: string): Promise<void> {
    await this.psql('postgres', `CREATE DATABASE "${name.replaceAll('"', '""')}"`);
  }

  #serverEnvironment(): NodeJS.ProcessEnv {
    return { PATH: process.env['PATH'] ?? '', LC_ALL: 'C.UTF-8', TZ: 'UTC', HOME: this.#ground.root };
  }

  #log(): string {
    return readFileSync(this.logFile, 'utf8').split('\n').slice(-20).join('\n');
  }
}
