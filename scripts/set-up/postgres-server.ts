import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { freePort } from './free-port.ts';
import { PostgresCluster } from './postgres-cluster.ts';
import { reachableTempDir, serverUser } from './postgres-installation.ts';
import { PostgresProcess, type StopMode } from './postgres-process.ts';
import { runPsql, type ConnectionEnvironment } from './psql.ts';
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
const PORT_ATTEMPTS = 5;

/**
 * Makes a cluster in a temporary folder and starts it on a free loopback port, with password authentication. As root
 * it runs as another user. A watchdog ends it and removes the folder should this process die before remove().
 * @throws LifeboatError CLIENT_MISSING when PostgreSQL is not installed, DB_CONNECT when it does not start.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const user = serverUser();
  const root = mkdtempSync(path.join(reachableTempDir(user), 'lifeboat-pg-'));
  const watchdog = startWatchdog(root);
  try {
    const cluster = new PostgresCluster({ root, user, binDir: options.binDir, settings: options.settings });
    const server = new OwnPostgres(cluster, watchdog, options);
    await cluster.initialise(server.superuser, server.password, options.initdbArgs);
    await server.start();
    return server;
  } catch (error) {
    await rm(root, { recursive: true, force: true });
    await watchdog.end();
    throw error;
  }
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
  readonly #cluster: PostgresCluster;
  readonly #watchdog: Watchdog;
  readonly #process: PostgresProcess;

  constructor(cluster: PostgresCluster, watchdog: Watchdog, options: PostgresOptions) {
    this.#cluster = cluster;
    this.#watchdog = watchdog;
    this.#process = new PostgresProcess(cluster, watchdog);
    this.superuser = options.superuser ?? 'postgres';
    this.password = options.password ?? AWKWARD_PASSWORD;
    this.dataDir = cluster.dataDir;
    this.socketDir = cluster.socketDir;
    this.logFile = cluster.logFile;
    this.binDir = cluster.binDir;
  }

  get env(): ConnectionEnvironment {
    return {
      DB_HOST: this.host,
      DB_PORT: String(this.port),
      DB_USER: this.superuser,
      DB_PASSWORD: this.password,
    };
  }

  async start(): Promise<void> {
    if (this.#process.runs) return;
    if (this.port !== 0) return await this.#process.start(this.port);
    for (let attempt = 1; ; attempt++) {
      const port = await freePort();
      try {
        await this.#process.start(port);
        this.port = port;
        return;
      } catch (error) {
        // Another process may take the port between our look and the server's bind.
        if (attempt === PORT_ATTEMPTS || !this.#cluster.lastLog().includes('could not bind')) throw error;
      }
    }
  }

  async stop(mode?: StopMode): Promise<void> {
    await this.#process.stop(mode);
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  async kill(): Promise<void> {
    await this.#process.kill();
  }

  async remove(): Promise<void> {
    await this.stop('immediate');
    await this.#process.releaseRemains();
    await rm(this.#cluster.root, { recursive: true, force: true });
    await this.#watchdog.end();
  }

  psql(database: string, sql: string): Promise<string> {
    return runPsql(this.env, database, sql);
  }

  async createDatabase(name: string): Promise<void> {
    await this.psql('postgres', `CREATE DATABASE "${name.replaceAll('"', '""')}"`);
  }
}
