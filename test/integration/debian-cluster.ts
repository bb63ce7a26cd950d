import { execFileSync, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { userInfo } from 'node:os';
import path from 'node:path';
import { freePort } from '../../scripts/set-up/free-port.ts';
import {
  findPostgresBinDir,
  reachableTempDir,
  serverUser,
} from '../../scripts/set-up/postgres-installation.ts';
import { runPsql, type ConnectionEnvironment } from '../../scripts/set-up/psql.ts';
import { startWatchdog } from '../../scripts/set-up/watchdog.ts';
import { postmasterOf } from './recovery-fixture.ts';

/** A cluster as Debian's postgresql-common makes and keeps it, below a folder of its own: nothing of /etc is touched. */
export class DebianCluster {
  readonly root: string;
  readonly version: string;
  readonly binDir = findPostgresBinDir();
  readonly superuser = serverUser() ? 'postgres' : userInfo().username;
  readonly password = 'in place';
  #port = 0;
  readonly #watchdog: ReturnType<typeof startWatchdog>;
  readonly #user = serverUser();

  private constructor() {
    this.root = mkdtempSync(path.join(reachableTempDir(this.#user), 'lifeboat-deb-'));
    this.#watchdog = startWatchdog(this.root);
    this.version = /(\d+)\.\d+/.exec(
      execFileSync(path.join(this.binDir, 'postgres'), ['--version'], { encoding: 'utf8' }),
    )![1]!;
    chmodSync(this.root, 0o755);
    for (const folder of ['', 'etc', 'log', 'socket', 'data']) this.#make(folder);
  }

  static async create(settings: Readonly<Record<string, string>>): Promise<DebianCluster> {
    const cluster = new DebianCluster();
    cluster.#port = await freePort();
    const { root, version, superuser } = cluster;
    execFileSync(
      'pg_createcluster',
      [
        '--user',
        superuser,
        '--datadir',
        cluster.dataDir,
        '--socketdir',
        path.join(root, 'socket'),
        '--logfile',
        path.join(root, 'log/main.log'),
        '--port',
        String(cluster.#port),
        '--locale',
        'C.UTF-8',
        version,
        'main',
        '--',
        '--wal-segsize=1',
        '--auth-host=trust',
        '--auth-local=trust',
        '--no-sync',
      ],
      { env: cluster.toolEnv, stdio: 'pipe' },
    );
    const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value}'\n`);
    appendFileSync(path.join(cluster.configDir, 'postgresql.conf'), lines.join(''));
    cluster.start();
    return cluster;
  }

  #make(name: string): string {
    const folder = path.join(this.root, name);
    if (!existsSync(folder)) mkdirSync(folder, { mode: 0o755 });
    if (this.#user) chownSync(folder, this.#user.uid, this.#user.gid);
    return folder;
  }

  makeFolder(name: string): string {
    return this.#make(name);
  }

  get dataDir(): string {
    return path.join(this.root, 'data', 'main');
  }

  get configDir(): string {
    return path.join(this.root, 'etc', this.version, 'main');
  }

  get toolEnv(): Record<string, string> {
    return {
      PATH: process.env['PATH'] ?? '',
      PG_CLUSTER_CONF_ROOT: path.join(this.root, 'etc'),
      LC_ALL: 'C.UTF-8',
    };
  }

  get env(): ConnectionEnvironment & Record<string, string> {
    return {
      ...this.toolEnv,
      DB_HOST: '127.0.0.1',
      DB_PORT: String(this.#port),
      DB_USER: this.superuser,
      DB_PASSWORD: this.password,
    };
  }

  psql(sql: string): Promise<string> {
    return runPsql(this.env, 'postgres', sql);
  }

  start(): void {
    this.#control('start');
    this.#watchdog.watch(postmasterOf(this.dataDir));
  }

  stop(): void {
    this.#control('stop');
  }

  get runs(): boolean {
    return postmasterOf(this.dataDir) !== undefined;
  }

  #control(action: string): void {
    execFileSync('pg_ctlcluster', [this.version, 'main', action], { env: this.toolEnv, stdio: 'pipe' });
  }

  /** A program that stops or starts the cluster after `line` of sh. @returns its path */
  script(name: string, line: string): string {
    const file = path.join(this.root, name);
    const environment = Object.entries(this.toolEnv).map(([key, value]) => `export ${key}='${value}'\n`);
    writeFileSync(file, `#!/bin/sh\n${environment.join('')}${line}\n`, { mode: 0o755 });
    return file;
  }

  async remove(): Promise<void> {
    // It may be stopped, or gone.
    spawnSync('pg_ctlcluster', [this.version, 'main', 'stop', '-m', 'immediate'], { env: this.toolEnv });
    rmSync(this.root, { recursive: true, force: true });
    await this.#watchdog.end();
  }
}
