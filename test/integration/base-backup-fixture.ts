import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseBaseManifest, type BaseManifest } from '../../lib/domain/base/base-manifest.ts';
import * as installation from '../../scripts/set-up/postgres-installation.ts';
import type { PostgresServer } from '../postgres-server.ts';
import type { Ground, Stage } from './backup-fixture.ts';

export interface BaseBackupJson {
  readonly succeeded: boolean;
  readonly label: string;
  readonly type: 'full' | 'incremental';
  readonly parent: string | null;
  readonly chain: readonly string[];
  readonly systemIdentifier: string;
  readonly startLsn: string;
  readonly stopLsn: string;
  readonly bytes: number;
  readonly rawBytes: number;
  readonly location: string;
  readonly warnings: readonly string[];
  readonly pageChecksums: { readonly verified: boolean; readonly failures: number };
  readonly runId: string;
}

/** `pitr/hostmaster/<cluster>/base/<label>/` of a backup in S3. */
export function prefixOf({
  systemIdentifier,
  label,
}: Pick<BaseBackupJson, 'systemIdentifier' | 'label'>): string {
  return `pitr/hostmaster/${systemIdentifier}/base/${label}/`;
}

export async function baseManifest(stage: Stage, backup: BaseBackupJson): Promise<BaseManifest> {
  const key = `${prefixOf(backup)}manifest.json`;
  return parseBaseManifest((await stage.object(key)).toString('utf8'), key);
}

/** Labels in S3 that have a manifest, and those that have only other files. */
export async function labelsIn(stage: Stage): Promise<{ whole: string[]; unfinished: string[] }> {
  const keys = (await stage.keys()).filter((key) => key.includes('/base/'));
  const labels = [...new Set(keys.map((key) => key.split('/')[4]!))];
  const isWhole = (label: string): boolean => keys.some((key) => key.endsWith(`/${label}/manifest.json`));
  return { whole: labels.filter(isWhole), unfinished: labels.filter((label) => !isWhole(label)) };
}

const user = installation.serverUser();

/** A folder in which the server may write. */
function serverFolder(parent: string, name: string): string {
  const folder = path.join(parent, name);
  mkdirSync(folder, { mode: 0o700 });
  if (user) chownSync(folder, user.uid, user.gid);
  return folder;
}

/** @param around statements before and behind it, of the same session */
export async function createTablespace(
  { postgres, folder }: Ground,
  name: string,
  around: readonly [string, string] = ['', ''],
): Promise<string> {
  chmodSync(folder, 0o755);
  const location = serverFolder(folder, `space-${name}`);
  const [before, behind] = around;
  await postgres.psql('postgres', `${before} CREATE TABLESPACE ${name} LOCATION '${location}'; ${behind}`);
  return location;
}

/** For a session: waits until a base backup reads files. */
export const UNTIL_BACKED_UP = `
  DO $$ BEGIN
    WHILE NOT EXISTS (SELECT FROM pg_stat_progress_basebackup WHERE phase = 'streaming database files') LOOP
      PERFORM pg_sleep(0.001), pg_stat_clear_snapshot();
    END LOOP;
  END $$;`;

/** A backup's files, and the data directory made of them by zstd and tar alone, as a stranger would. */
export class Unpacked {
  readonly root: string;
  readonly dataDir: string;
  readonly #files: string;
  readonly #manifest: BaseManifest;

  private constructor(root: string, files: string, manifest: BaseManifest) {
    this.root = root;
    this.#files = files;
    this.dataDir = path.join(root, 'data');
    this.#manifest = manifest;
  }

  static async fetch(stage: Stage, backup: BaseBackupJson): Promise<Unpacked> {
    const fetched = mkdtempSync(path.join(tmpdir(), 'lifeboat-fetched-'));
    try {
      const prefix = prefixOf(backup);
      for (const key of await stage.keys()) {
        if (!key.startsWith(prefix)) continue;
        writeFileSync(path.join(fetched, key.slice(prefix.length)), await stage.object(key));
      }
      return Unpacked.from(fetched);
    } finally {
      rmSync(fetched, { recursive: true });
    }
  }

  /** @param folder of a backup's files */
  static from(folder: string): Unpacked {
    const root = mkdtempSync(path.join(installation.reachableTempDir(user), 'lifeboat-unpacked-'));
    chmodSync(root, 0o755);
    const text = readFileSync(path.join(folder, 'manifest.json'), 'utf8');
    const unpacked = new Unpacked(root, folder, parseBaseManifest(text, folder));
    unpacked.#unpack();
    return unpacked;
  }

  #unpack(): void {
    serverFolder(this.root, 'data');
    this.#unpackSeries('base', this.dataDir);
    this.#unpackSeries('wal', this.dataDir);
    for (const { oid } of this.#manifest.tablespaces) {
      const target = serverFolder(this.root, `ts-${oid}`);
      this.#unpackSeries(`ts-${oid}`, target);
      const link = path.join(this.dataDir, 'pg_tblspc', String(oid));
      rmSync(link, { force: true });
      symlinkSync(target, link);
    }
    writeFileSync(
      path.join(this.dataDir, 'backup_manifest'),
      readFileSync(path.join(this.#files, 'backup_manifest')),
    );
    if (user) execFileSync('chown', ['-R', `${user.uid}:${user.gid}`, this.root]);
  }

  #unpackSeries(series: string, target: string): void {
    const volumes = readdirSync(this.#files)
      .filter((name) => name.startsWith(`${series}-`))
      .toSorted();
    execFileSync(
      'bash',
      ['-c', 'set -o pipefail; cat "${@:2}" | zstd -dcq | tar -x -C "$1"', 'bash', target, ...volumes],
      {
        cwd: this.#files,
      },
    );
  }

  /** PostgreSQL's own judgement. @returns what it says; throws with that when it finds fault */
  verify(binDir: string): string {
    return execFileSync(path.join(binDir, 'pg_verifybackup'), [this.dataDir], { encoding: 'utf8' });
  }

  /** The tablespaces that the server is to find are the unpacked ones. */
  rewriteTablespaceMap(): void {
    const lines = this.#manifest.tablespaces.map(
      ({ oid }) => `${oid} ${path.join(this.root, `ts-${oid}`)}\n`,
    );
    if (lines.length > 0) writeFileSync(path.join(this.dataDir, 'tablespace_map'), lines.join(''));
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** A server on an unpacked data directory; it replays the WAL that came with it. */
export class RestoredServer {
  readonly #origin: PostgresServer;
  readonly #postmaster: ChildProcess;
  readonly #socketDir: string;
  #log = '';

  private constructor(origin: PostgresServer, unpacked: Unpacked) {
    this.#origin = origin;
    this.#socketDir = serverFolder(unpacked.root, 'socket');
    const settings = {
      port: '5432',
      listen_addresses: '',
      unix_socket_directories: this.#socketDir,
      archive_mode: 'off',
      fsync: 'off',
    };
    const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    this.#postmaster = spawn(path.join(origin.binDir, 'postgres'), ['-D', unpacked.dataDir, ...args], {
      cwd: unpacked.root,
      env: { PATH: process.env['PATH'] ?? '', LC_ALL: 'C.UTF-8', TZ: 'UTC', HOME: tmpdir() },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...user,
    });
    for (const stream of [this.#postmaster.stdout!, this.#postmaster.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#log += text;
      });
    }
  }

  static async start(origin: PostgresServer, unpacked: Unpacked): Promise<RestoredServer> {
    const server = new RestoredServer(origin, unpacked);
    for (const limit = Date.now() + 200_000; Date.now() < limit;) {
      if (server.#postmaster.exitCode !== null) break;
      if (server.#log.includes('ready to accept connections')) return server;
      await sleep(50);
    }
    server.#postmaster.kill('SIGQUIT');
    throw new Error(`The restored server did not start:\n${server.#log}`);
  }

  psql(database: string, sql: string): string {
    return execFileSync(
      path.join(installation.findPostgresBinDir(), 'psql'),
      ['-XAtq', '-v', 'ON_ERROR_STOP=1', '-h', this.#socketDir, '-U', this.#origin.superuser, '-d', database],
      { input: sql, encoding: 'utf8', env: { PATH: process.env['PATH'], PGPASSWORD: this.#origin.password } },
    ).trim();
  }

  async stop(): Promise<void> {
    const gone = new Promise((resolve) => {
      this.#postmaster.once('exit', resolve);
    });
    this.#postmaster.kill('SIGINT');
    await gone;
  }
}

/** One number for all rows of a table, whatever their order. */
export function checksumOf(table: string): string {
  return `SELECT count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM ${table} t`;
}

/** Megabytes that no compression makes smaller; from some 120 on a slow S3 holds the server up, as no more fits in memory on the way. */
export function noise(megabytes: number): string {
  return `
    CREATE TABLE IF NOT EXISTS noise (body bytea);
    ALTER TABLE noise ALTER body SET STORAGE EXTERNAL;
    INSERT INTO noise SELECT pg_read_binary_file('/dev/urandom', 0, 1048576) FROM generate_series(1, ${megabytes})`;
}
