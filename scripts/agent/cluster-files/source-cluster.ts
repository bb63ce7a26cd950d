import { LifeboatError } from '../../../lib/domain/errors.ts';
import { majorOf } from '../../../lib/domain/server-version.ts';
import type { BaseServerFacts } from '../ports/base-backup.ts';
import type { BackupSession } from './backup-session.ts';
import type { WalkRules } from './cluster-walk.ts';
import { cannotRead } from './disk-failure.ts';
import { Folder } from './folder.ts';
import { whyOtherFolder, whyOtherWal } from './same-host.ts';

export interface FoundTablespace {
  readonly oid: number;
  /** Absolute; of one below the data directory (allow_in_place_tablespaces) relative to it. */
  readonly location: string;
  /** What of the location is this cluster's: `PG_15_202209061`. */
  readonly version: string;
  /** That folder. */
  readonly folder: Folder;
  /** Where it lies within the data directory, relative to that. */
  readonly inside: string | undefined;
  /** Its line in tablespace_map, a character for each byte. */
  readonly mapLine: string;
}

/** How often a tablespace whose files are gone is asked for: its drop may just be about to be committed. */
const DROP_TRIES = 50;

/** A cluster whose data directory is this host's, and is held open. */
export class SourceCluster {
  readonly root: Folder;
  readonly versionNumber: number;
  readonly systemIdentifier: string;
  readonly segmentSize: number;
  readonly dataChecksums: boolean;
  readonly #session: BackupSession;
  readonly #path: string;
  readonly #version: string;
  readonly #statsFolder: string | undefined;
  readonly #pid: number;
  readonly #tablespaces: FoundTablespace[] = [];

  constructor(
    facts: BaseServerFacts,
    session: BackupSession,
    details: {
      readonly root: Folder;
      /** Of the server's process that serves the session. */
      readonly pid: number;
      readonly catalogVersion: number;
      /** stats_temp_directory, which there was up to 14. */
      readonly statsFolder: string | undefined;
    },
  ) {
    this.versionNumber = facts.versionNumber;
    this.systemIdentifier = facts.systemIdentifier;
    this.segmentSize = facts.walSegmentSize;
    this.dataChecksums = facts.dataChecksums;
    this.#session = session;
    this.root = details.root;
    this.#path = bytesAsText(facts.configuration.dataDirectory!);
    this.#version = `PG_${majorOf(facts.versionNumber)}_${details.catalogVersion}`;
    this.#statsFolder = details.statsFolder;
    this.#pid = details.pid;
  }

  get rules(): WalkRules {
    return { elsewhere: new Set(), emptied: this.#emptied(), summaries: majorOf(this.versionNumber) >= 17 };
  }

  #emptied(): string | undefined {
    const folder = this.#statsFolder;
    if (folder === undefined) return undefined;
    const path = bytesAsText(folder).replace(/^\.\//, '').replace(/\/+$/, '');
    return path.startsWith(`${this.#path}/`) ? path.slice(this.#path.length + 1) : path;
  }

  /** Of files that the backup has and the cluster has not. */
  get newFile(): { readonly mode: number; readonly uid: number; readonly gid: number } {
    const { mode, uid, gid } = this.root.stat;
    return { mode: (mode & 0o050) === 0 ? 0o600 : 0o640, uid, gid };
  }

  /** Opened until `close`. Each is the folder that the server sees. @throws LifeboatError DISK_FAILED */
  async findTablespaces(): Promise<readonly FoundTablespace[]> {
    this.#closeTablespaces();
    const links = this.root.follow('pg_tblspc');
    if (!links) throw new LifeboatError('DISK_FAILED', `There is no ${this.root.path}pg_tblspc`);
    try {
      for (const name of links.names()) {
        if (!/^\d+$/.test(name)) continue;
        const found = await this.#findTablespace(links, name);
        if (found) this.#tablespaces.push(found);
      }
    } finally {
      links.close();
    }
    return this.#tablespaces;
  }

  async #findTablespace(links: Folder, name: string): Promise<FoundTablespace | undefined> {
    const oid = Number(name);
    const stat = links.statOf(name);
    const target = stat?.isSymbolicLink() ? links.linkOf(name) : undefined;
    if (target === undefined && !stat?.isDirectory()) return undefined;
    const inPlace = `pg_tblspc/${name}`;
    const path = target ?? this.#path + '/' + inPlace;
    const folder = this.#openVersion(path);
    if (!folder) {
      await this.#requireDropped(oid, `${path}/${this.#version}`);
      return undefined;
    }
    const within = path.startsWith(`${this.#path}/`) ? path.slice(this.#path.length + 1) : undefined;
    const found = {
      oid,
      location: textOf(target ?? inPlace),
      version: this.#version,
      folder,
      inside: within,
      mapLine: target === undefined ? '' : `${name} ${target.replaceAll(/[\n\r\\]/g, String.raw`\$&`)}\n`,
    };
    await this.#requireServersFolder(found, textOf(path)).catch((error: unknown) => {
      folder.close();
      throw error;
    });
    return found;
  }

  async #requireServersFolder(_found: FoundTablespace, path: string): Promise<void> {
    const folder = `${path}/${this.#version}`;
    const why = await whyOtherFolder(`/proc/${this.#pid}/root${folder}`, folder);
    if (why !== undefined) throw new LifeboatError('DISK_FAILED', why);
  }

  /** `undefined`: it is not there. */
  #openVersion(path: string): Folder | undefined {
    let location: Folder;
    try {
      location = Folder.at(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw cannotRead(textOf(path), error);
    }
    try {
      const found = location.open(this.#version);
      if (found === 'gone') return undefined;
      if (found === 'special')
        throw new LifeboatError('DISK_FAILED', `${location.path}${this.#version} is no folder`);
      return new Folder(found, `${location.path}${this.#version}/`);
    } finally {
      location.close();
    }
  }

  /** Neither dropped nor taken away from under us: a disk that is gone shows an empty folder. @throws LifeboatError DISK_FAILED */
  async requireStillThere(oid: number): Promise<void> {
    const { folder } = this.#tablespaces.find((each) => each.oid === oid)!;
    const path = folder.path.slice(0, -1 - this.#version.length - 1);
    const now = this.#openVersion(path);
    if (!now) return await this.#requireDropped(oid, folder.path);
    now.close();
    requireSame(folder, now);
  }

  /** @throws LifeboatError DISK_FAILED */
  requireSameRoot(): void {
    let now: Folder;
    try {
      now = Folder.at(this.#path);
    } catch (error) {
      throw cannotRead(textOf(this.#path), error);
    }
    now.close();
    requireSame(this.root, now);
  }

  /** That a tablespace's files are gone is right only where it was dropped: the WAL says so too. */
  async #requireDropped(oid: number, path: string): Promise<void> {
    for (let time = 0; time < DROP_TRIES; time += 1) {
      const rows = await this.#session.rows(
        `SELECT FROM pg_tablespace, pg_sleep($2) WHERE pg_tablespace.oid = $1`,
        [oid, time === 0 ? 0 : 0.1],
      );
      if (rows.length === 0) return;
    }
    throw new LifeboatError('DISK_FAILED', `The files of tablespace ${oid} are gone: ${textOf(path)}`);
  }

  /** It may be a link. It is the folder that the server sees. @throws LifeboatError DISK_FAILED */
  async openWal(): Promise<Folder> {
    const why = await whyOtherWal(this.#pid, textOf(this.#path));
    if (why !== undefined) throw new LifeboatError('DISK_FAILED', why);
    const folder = this.root.follow('pg_wal');
    if (folder) return folder;
    throw new LifeboatError('DISK_FAILED', `There is no ${this.root.path}pg_wal`);
  }

  #closeTablespaces(): void {
    for (const { folder } of this.#tablespaces.splice(0)) folder.close();
  }

  close(): void {
    this.#closeTablespaces();
    this.root.close();
  }
}

function requireSame(before: Folder, now: Folder): void {
  if (before.stat.ino === now.stat.ino && before.stat.dev === now.stat.dev) return;
  throw new LifeboatError('DISK_FAILED', `${textOf(before.path)} was replaced while it was backed up`);
}

/** Text with a character for each byte. */
function bytesAsText(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function textOf(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString();
}
