import { constants } from 'node:fs';
import { mkdir, open, stat, symlink, chown, lchown, type FileHandle } from 'node:fs/promises';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { onDisk } from '../../host/durable-file.ts';
import type { TarMember } from './tar-header.ts';

export interface FileOwner {
  readonly uid: number;
  readonly gid: number;
}

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const SLASH = 0x2f;
/** A link in the last part of the path is not followed; a file that is there gives way, as it does to tar. */
const WRITE_FLAGS = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;

/**
 * A folder that tar members are unpacked into and cannot leave. Paths are handled as bytes: the names of files that
 * somebody put into a data directory need not be UTF-8.
 */
export class ExtractionFolder {
  readonly path: string;
  readonly #owner: FileOwner | undefined;
  /** Folders that are there, or on their way. */
  readonly #folders = new Map<string, Promise<void>>();

  constructor(path: string, owner: FileOwner | undefined) {
    this.path = path;
    this.#owner = owner;
  }

  /**
   * @returns the member's place below the folder, as bytes; `undefined` for the folder itself
   * @throws LifeboatError CORRUPT for a name that leads elsewhere
   */
  placeOf(member: TarMember, where: string): Buffer | undefined {
    const { rawName } = member;
    const parts = rawName.toString('latin1').split('/');
    if (rawName.length === 0 || rawName[0] === SLASH || parts.includes('..')) {
      throw new LifeboatError('CORRUPT', `${where} has a member outside of its folder: ${member.name}`, {
        hint: 'Do not unpack it by hand either: it is no backup of ours.',
      });
    }
    const kept = parts.filter((part) => part !== '' && part !== '.');
    return kept.length === 0 ? undefined : Buffer.from(kept.join('/'), 'latin1');
  }

  /** Makes the folder and those above it, where they are not there. */
  makeFolder(place: Buffer): Promise<void> {
    const key = place.toString('latin1');
    const known = this.#folders.get(key);
    if (known) return known;
    const made = this.#makeFolder(place);
    this.#folders.set(key, made);
    return made;
  }

  async #makeFolder(place: Buffer): Promise<void> {
    await this.makeParent(place);
    const path = this.#pathOf(place);
    await onDisk(`Cannot make the folder ${path.toString()}`, async () => {
      try {
        await mkdir(path, FOLDER_MODE);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        if (!(await stat(path)).isDirectory()) throw error;
        return;
      }
      if (this.#owner) await chown(path, this.#owner.uid, this.#owner.gid);
    });
  }

  async makeParent(place: Buffer): Promise<void> {
    const slash = place.lastIndexOf(SLASH);
    if (slash > 0) await this.makeFolder(place.subarray(0, slash));
  }

  async createFile(place: Buffer): Promise<FileHandle> {
    await this.makeParent(place);
    const path = this.#pathOf(place);
    return onDisk(`Cannot write ${path.toString()}`, async () => {
      const file = await open(path, WRITE_FLAGS, FILE_MODE);
      try {
        if (this.#owner) await file.chown(this.#owner.uid, this.#owner.gid);
      } catch (error) {
        await file.close();
        throw error;
      }
      return file;
    });
  }

  /** @throws LifeboatError CORRUPT unless the link leads downwards from where it stands */
  async makeLink(place: Buffer, target: string, where: string): Promise<void> {
    const path = this.#pathOf(place);
    // Downwards only: `..` behind another link would mean something else than it says.
    if (target === '' || target.startsWith('/') || target.split('/').includes('..')) {
      throw new LifeboatError(
        'CORRUPT',
        `${where} has a link that leads elsewhere: ${place.toString()} to ${target}`,
      );
    }
    await this.makeParent(place);
    await onDisk(`Cannot make the link ${path.toString()}`, async () => {
      await symlink(target, path);
      if (this.#owner) await lchown(path, this.#owner.uid, this.#owner.gid);
    });
  }

  #pathOf(place: Buffer): Buffer {
    return Buffer.concat([Buffer.from(`${this.path}/`), place]);
  }
}
