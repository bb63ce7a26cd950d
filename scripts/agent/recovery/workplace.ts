import { mkdtemp, readFile, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import type { RecoveryPlan } from '../../../lib/domain/base/recovery-plan.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatCount } from '../../../lib/domain/quantities.ts';
import { BACKUP_MANIFEST, basePrefix, type WalSeries } from '../../../lib/domain/wal/keys.ts';
import { parseBackupManifest, type BackupManifest } from '../data-path/tar/backup-manifest.ts';
import type { FileOwner } from '../data-path/tar/extraction-folder.ts';
import { verifyAgainstManifest } from '../data-path/tar/manifest-verification.ts';
import { syncTree } from '../data-path/tar/sync-tree.ts';
import { WrittenDigests } from '../data-path/tar/written-digests.ts';
import { onDisk } from '../host/durable-file.ts';
import type {
  RecoveryAction,
  RecoveryPlace,
  RecoveryPorts,
  RecoveryWorkplace,
  ReplayEnd,
  ServerPrograms,
} from '../ports/recovery.ts';
import type { WalReader } from '../ports/wal.ts';
import type { DatabaseSettings } from '../settings.ts';
import type { Environment } from '../environment.ts';
import { replayWal } from './replay.ts';
import type { ServerProcess } from './server-process.ts';
import { configureServer } from './server-configuration.ts';
import { WORK_FOLDER } from './settings-files.ts';
import { ChainOfBackups } from './chain.ts';
import { endAbandonedCombiner } from './combiner.ts';
import { fetchFile } from './fetched-file.ts';
import { findLiveDisks, guardDisks, measureDisk, type DiskGuard, type LiveDisks } from './live-disks.ts';
import { unpackVolumes } from './volumes.ts';
import * as files from './work-files.ts';

export interface WorkplaceGround extends Pick<RecoveryPorts, 'app' | 'stores' | 'interrupted' | 'log'> {
  readonly reader: WalReader;
  readonly database: DatabaseSettings;
  readonly environment: Environment;
  readonly owner: FileOwner | undefined;
}

/** A socket's path has 107 bytes at most: sun_path in unix(7), less the final zero. */
const LONGEST_SOCKET = 107;
const DEFAULT_PORT = 5432;

export class Workplace implements RecoveryWorkplace {
  readonly #ground: WorkplaceGround;
  readonly #place: RecoveryPlace;
  readonly #mark: files.Mark | undefined;
  #tablespaces: number[] = [];
  /** The folders that are ours to remove as well. */
  #madeFolder = false;
  #begun = false;
  #socketDir = '';
  /** Checksums of the files that were unpacked, by path; none of files that were combined. */
  #written: ReadonlyMap<string, string> = new Map();
  #guard: DiskGuard | undefined;
  server: ServerProcess | undefined;

  private constructor(ground: WorkplaceGround, place: RecoveryPlace, mark: files.Mark | undefined) {
    this.#ground = ground;
    this.#place = place;
    this.#mark = mark;
  }

  /** @throws LifeboatError RESTORE_REFUSED */
  static async open(ground: WorkplaceGround, place: RecoveryPlace): Promise<Workplace> {
    const mark = await files.lookAt(place.dataDir);
    return new Workplace(ground, place, mark);
  }

  get abandoned(): boolean {
    return this.#mark !== undefined;
  }

  async reserve(plan: RecoveryPlan): Promise<number> {
    const { dataDir } = this.#place;
    return await onDisk(`Cannot read the free space of ${dataDir}`, async () => {
      return (await measureDisk(dataDir, await this.#findLiveDisks(plan))).reserve;
    });
  }

  async #findLiveDisks({ base: { manifest } }: Pick<RecoveryPlan, 'base'>): Promise<LiveDisks> {
    const live = this.#place.live ?? manifest.settings['data_directory'];
    const tablespaces = manifest.tablespaces.map(({ location }) => location);
    return await findLiveDisks(live, tablespaces);
  }

  /** Ours, or the disk's. */
  get #interrupted(): AbortSignal {
    const { interrupted } = this.#ground;
    return this.#guard ? AbortSignal.any([interrupted, this.#guard.signal]) : interrupted;
  }

  async prepare(plan: RecoveryPlan): Promise<void> {
    const { base, chain } = plan;
    const { manifest } = base;
    const { dataDir } = this.#place;
    const { owner } = this.#ground;
    if (this.#mark) {
      await endAbandonedCombiner(path.join(dataDir, files.CHAIN_FOLDER));
      await files.removeTablespaces(this.#mark);
      await files.emptyFolder(dataDir);
    }
    const tablespaces = manifest.tablespaces.map(({ oid }) => oid);
    const folders = this.#foldersFor(tablespaces, chain.length > 1);
    for (const folder of folders) await files.requireFree(folder);
    this.#madeFolder = await files.makeOwnFolder(dataDir, owner);
    this.#begun = true;
    this.#tablespaces = tablespaces;
    await files.writeMark(dataDir, { label: manifest.label, ...this.#tablespaceFolders() });
    for (const folder of folders) await files.makeOwnFolder(folder, owner);
    for (const oid of tablespaces) {
      const folder = this.#tablespace(oid);
      await files.makeOwnFolder(folder, owner);
      // Of a chain pg_combinebackup makes the links.
      if (chain.length === 1) await files.linkTo(folder, path.join(dataDir, 'pg_tblspc', String(oid)), owner);
    }
    const live = await this.#findLiveDisks(plan);
    this.#guard = await onDisk(`Cannot read the free space of ${dataDir}`, () =>
      guardDisks([dataDir, ...folders, ...tablespaces.map((oid) => this.#tablespace(oid))], live),
    );
  }

  #tablespace(oid: number): string {
    const { tablespaceDirs, tablespaceDir } = this.#place;
    return tablespaceDirs?.get(oid) ?? path.join(tablespaceDir, String(oid));
  }

  /** Those that have one of their own, and the one for all others, where a chain's members are laid out too. */
  #foldersFor(tablespaces: readonly number[], isChain: boolean): string[] {
    const { tablespaceDirs, tablespaceDir } = this.#place;
    const own = tablespaces.map((oid) => tablespaceDirs?.get(oid) ?? tablespaceDir);
    return [...new Set(isChain && own.length > 0 ? [tablespaceDir, ...own] : own)];
  }

  #tablespaceFolders(): Pick<files.Mark, 'tablespaceDir' | 'tablespaces' | 'folders'> {
    const { tablespaceDirs, tablespaceDir } = this.#place;
    const tablespaces = this.#tablespaces.filter((oid) => !tablespaceDirs?.has(oid));
    const folders = this.#tablespaces.flatMap((oid) => tablespaceDirs?.get(oid) ?? []);
    return { tablespaceDir, tablespaces, ...(folders.length > 0 && { folders }) };
  }

  async unpack(
    { chain, base: { manifest } }: RecoveryPlan,
    programs: ServerPrograms,
    onProgress: (rawBytes: number) => void,
  ): Promise<void> {
    const { stores, owner, log } = this.#ground;
    const { dataDir } = this.#place;
    const interrupted = this.#interrupted;
    const ground = { store: stores.backups, owner, interrupted, onProgress };
    if (chain.length === 1) {
      await this.#fetchManifest(manifest, dataDir);
      const digests = await this.#watchDigests(manifest);
      await unpackVolumes(ground, [
        {
          ...(digests && { digests }),
          prefix: this.#prefixOf(manifest),
          manifest,
          volumes: manifest.volumes.filter(({ series }) => series !== 'config'),
          dataDir,
          tablespaceDirs: new Map(this.#tablespaces.map((oid) => [oid, this.#tablespace(oid)])),
        },
      ]);
      if (digests) this.#written = digests.written;
    } else {
      const backups = new ChainOfBackups({ place: this.#place, chain, owner, interrupted, log });
      const members = await backups.layOut((each) => this.#prefixOf(each));
      await unpackVolumes(ground, members);
      for (const member of members) await this.#fetchManifest(member.manifest, member.dataDir);
      await backups.combine(programs);
    }
    const map = this.#tablespaces.map((oid) => `${oid} ${this.#tablespace(oid)}\n`).join('');
    if (map !== '') await files.writeOwn(path.join(dataDir, 'tablespace_map'), map, owner);
    // The server would sync them too, but only logs what fails; and the checksums are those of what was written, not of the disk.
    await syncTree(dataDir, interrupted, (name) => this.#written.has(name));
    for (const oid of this.#tablespaces)
      await syncTree(this.#tablespace(oid), interrupted, (name) =>
        this.#written.has(`pg_tblspc/${oid}/${name}`),
      );
  }

  async #fetchManifest(manifest: BaseManifest, folder: string): Promise<void> {
    if (!manifest.backupManifest) return;
    const key = this.#prefixOf(manifest) + BACKUP_MANIFEST;
    const file = path.join(folder, BACKUP_MANIFEST);
    const { stores, owner } = this.#ground;
    await fetchFile({ ...manifest.backupManifest, store: stores.backups, key }, file, owner);
  }

  async #watchDigests({ backupManifest }: BaseManifest): Promise<WrittenDigests | undefined> {
    return backupManifest ? new WrittenDigests(await this.#readManifest()) : undefined;
  }

  /** The server's own list of the backup's files. */
  async #readManifest(): Promise<BackupManifest> {
    const file = path.join(this.#place.dataDir, BACKUP_MANIFEST);
    return parseBackupManifest(await onDisk(`Cannot read ${file}`, () => readFile(file)), file);
  }

  #prefixOf({ label, server }: BaseManifest): string {
    const series: WalSeries = { app: this.#ground.app, systemIdentifier: server.systemIdentifier };
    return basePrefix(series, label);
  }

  async verify(manifest: BaseManifest, onProgress: (bytes: number) => void): Promise<number> {
    const interrupted = this.#interrupted;
    const { dataDir } = this.#place;
    if (!manifest.backupManifest) return 0;
    const own = manifest.volumes.some(({ series }) => series === 'wal');
    const verification = await verifyAgainstManifest(dataDir, await this.#readManifest(), {
      written: this.#written,
      ignore: ['tablespace_map', files.MARK],
      interrupted,
      onProgress,
      ...(own ? {} : { walFolder: null }),
    });
    const { problems } = verification;
    if (problems.length === 0) return verification.files;
    const told = problems.slice(0, 10).map(({ message }) => `- ${message}`);
    throw new LifeboatError(
      'CORRUPT',
      `What was unpacked of ${manifest.label} is not what its manifest says, ${formatCount(problems.length, 'problem')}:\n${told.join('\n')}`,
    );
  }

  async replay(
    plan: RecoveryPlan,
    programs: ServerPrograms,
    action: RecoveryAction,
    onProgress: (segments: number) => void,
  ): Promise<ReplayEnd> {
    const { ground, place } = { ground: this.#ground, place: this.#place };
    const port = place.port ?? DEFAULT_PORT;
    const socketDir = await this.#makeSocketDir(port);
    this.#socketDir = socketDir;
    await configureServer({ ...ground, place, programs, socketDir, port }, plan.base.manifest);
    const { dataDir } = place;
    try {
      const { end, server } = await replayWal(
        { ...ground, interrupted: this.#interrupted, programs, dataDir, socketDir, port },
        { plan, action, onProgress, onStart: (server) => (this.server = server) },
      );
      this.server = server;
      return end;
    } finally {
      this.#guard?.end();
    }
  }

  async #makeSocketDir(port: number): Promise<string> {
    const { dataDir } = this.#place;
    if (Buffer.byteLength(path.join(dataDir, `.s.PGSQL.${port}`)) <= LONGEST_SOCKET) return dataDir;
    const folder = await onDisk('Cannot make a folder for the socket', () => mkdtemp('/tmp/lifeboat-'));
    await files.makeOwnFolder(folder, this.#ground.owner);
    return folder;
  }

  async halt(): Promise<void> {
    await this.server?.stop();
  }

  async finish(): Promise<void> {
    const { dataDir } = this.#place;
    this.server?.leave();
    const paused = await readFile(path.join(dataDir, WORK_FOLDER, 'recovery.conf')).catch(() => undefined);
    const promoted = paused === undefined || !(await files.isInRecovery(dataDir));
    // A server that is paused goes on to ask for history files.
    if (promoted) await rm(path.join(dataDir, WORK_FOLDER), { recursive: true, force: true });
    await rm(path.join(dataDir, files.MARK), { force: true });
    this.#begun = false;
  }

  async remove(): Promise<void> {
    this.#guard?.end();
    if (!this.#begun) return;
    this.#begun = false;
    const { dataDir } = this.#place;
    await this.server?.stop();
    await files.removeTablespaces(this.#tablespaceFolders());
    await files.emptyFolder(dataDir);
    if (this.#madeFolder) await rmdir(dataDir).catch(() => undefined);
    if (this.#socketDir !== '' && this.#socketDir !== dataDir)
      await rm(this.#socketDir, { recursive: true, force: true });
  }
}
