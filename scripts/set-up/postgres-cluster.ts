import { chmodSync, chownSync, mkdirSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as installation from './postgres-installation.ts';
import { runProgram } from './run-program.ts';

interface ClusterOptions {
  /** Below it lies everything that the cluster is made of. */
  readonly root: string;
  /** Whom it belongs to, and who its programs run as; ourselves when left out. */
  readonly user: installation.ServerUser | undefined;
  readonly binDir: string | undefined;
  /** Lines for postgresql.conf; they win over the defaults here. */
  readonly settings: Readonly<Record<string, string>> | undefined;
}

/** The files of a cluster of our own: programs, data, socket and log. Nothing runs yet. */
export class PostgresCluster {
  readonly root: string;
  readonly user: installation.ServerUser | undefined;
  readonly dataDir: string;
  readonly socketDir: string;
  readonly logFile: string;
  readonly binDir: string;
  readonly #settings: Readonly<Record<string, string>> | undefined;

  /** @throws LifeboatError CLIENT_MISSING when PostgreSQL is not installed */
  constructor({ root, user, binDir: wanted, settings }: ClusterOptions) {
    this.root = root;
    this.user = user;
    this.dataDir = path.join(root, 'data');
    this.socketDir = path.join(root, 'socket');
    this.logFile = path.join(root, 'server.log');
    this.#settings = settings;
    const binDir = wanted ?? installation.findPostgresBinDir();
    installation.completeSymlinks(binDir);
    // The user that the server runs as must be able to read its programs; node_modules may lie in a private folder.
    chmodSync(root, 0o755);
    this.binDir = installation.canReach(binDir, user)
      ? binDir
      : installation.copyInstallation(binDir, path.join(root, 'postgresql'));
  }

  /** Of its programs. */
  get environment(): NodeJS.ProcessEnv {
    return { PATH: process.env['PATH'] ?? '', LC_ALL: 'C.UTF-8', TZ: 'UTC', HOME: this.root };
  }

  /** initdb, with password authentication. @param args more of initdb's */
  async initialise(superuser: string, password: string, args: readonly string[] = []): Promise<void> {
    for (const folder of [this.dataDir, this.socketDir]) {
      mkdirSync(folder, { mode: folder === this.dataDir ? 0o700 : 0o755 });
      if (this.user) chownSync(folder, this.user.uid, this.user.gid);
    }
    const passwordFile = path.join(this.root, 'password');
    await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
    if (this.user) chownSync(passwordFile, this.user.uid, this.user.gid);
    await runProgram(
      path.join(this.binDir, 'initdb'),
      [...this.#initdbArgs(superuser, passwordFile), ...args],
      { env: this.environment, cwd: this.root, ...this.user },
    );
    await rm(passwordFile);
    await writeFile(path.join(this.dataDir, 'postgresql.conf'), "\ninclude 'lifeboat.conf'\n", { flag: 'a' });
  }

  #initdbArgs(superuser: string, passwordFile: string): string[] {
    return [
      `--pgdata=${this.dataDir}`,
      `--username=${superuser}`,
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

  /** What the server is to be started with. */
  async writeSettings(port: number): Promise<void> {
    const settings = {
      port: String(port),
      listen_addresses: '127.0.0.1',
      unix_socket_directories: this.socketDir,
      max_connections: '60',
      timezone: 'UTC',
      log_timezone: 'UTC',
      log_line_prefix: '%m [%p] %q%u@%d ',
      ...this.#settings,
    };
    const lines = Object.entries(settings).map(
      ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`,
    );
    const file = path.join(this.dataDir, 'lifeboat.conf');
    await writeFile(file, `${lines.join('\n')}\n`);
    chmodSync(file, 0o644);
  }

  /** The end of the server's own log. */
  lastLog(): string {
    return readFileSync(this.logFile, 'utf8').split('\n').slice(-20).join('\n');
  }
}
