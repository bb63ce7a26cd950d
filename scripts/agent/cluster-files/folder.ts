import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  type Stats,
} from 'node:fs';
import { cannotRead, codeOf } from './disk-failure.ts';

/** A file, or a folder's entry, that was opened; whoever has it closes it. */
export interface OpenEntry {
  readonly fd: number;
  readonly stat: Stats;
}

/** `gone`: it vanished since its folder was listed. `special`: a link, a socket, a pipe or a device. */
type Found<Entry> = Entry | 'gone' | 'special';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
/** No link is followed below the data directory, as whoever may write there would choose what root reads; a pipe is not waited for. */
const ENTRY = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;

/**
 * A folder that is held open: its entries are reached through it, whatever becomes of the names above it. Names are handled as
 * bytes, a character each (latin1). System calls on names are made at once, not in the thread pool: there they would take five times
 * as long, and wait behind the compression.
 */
export class Folder {
  readonly fd: number;
  readonly stat: Stats;
  /** For messages; ends with a slash. */
  readonly path: string;

  /** The user whose files these are. */
  readonly #owner: number;

  /** Of an entry that turned out to be a folder. @param owner of the folder that all began with */
  constructor({ fd, stat }: OpenEntry, path: string, owner = stat.uid) {
    this.fd = fd;
    this.stat = stat;
    this.path = path;
    this.#owner = owner;
  }

  /** By its absolute path, in which links are followed. @throws NodeJS.ErrnoException */
  static at(path: string): Folder {
    const fd = openSync(bytesOf(path), O_RDONLY | O_DIRECTORY);
    return new Folder({ fd, stat: fstatSync(fd) }, `${path}/`);
  }

  /** In the order of their bytes. @throws LifeboatError DISK_FAILED */
  names(): string[] {
    try {
      return readdirSync(`/proc/self/fd/${this.fd}`, 'latin1');
    } catch (error) {
      throw cannotRead(this.path, error);
    }
  }

  /** @throws LifeboatError DISK_FAILED */
  open(name: string): Found<OpenEntry> {
    let fd: number;
    try {
      fd = openSync(this.#pathOf(name), ENTRY);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return 'gone';
      if (['ELOOP', 'ENXIO'].includes(codeOf(error) ?? '')) return 'special';
      throw cannotRead(this.path + name, error);
    }
    const stat = fstatSync(fd);
    const isEntry = stat.isFile() || stat.isDirectory();
    if (isEntry && mayRead(this.#owner, stat)) return { fd, stat };
    closeSync(fd);
    if (isEntry)
      throw cannotRead(
        this.path + name,
        new Error(`it is no file of PostgreSQL’s user (${this.#owner}), and not for it to read`),
      );
    return 'special';
  }

  /** Of an entry that was opened. */
  below(name: string, entry: OpenEntry): Folder {
    return new Folder(entry, `${this.path}${name}/`, this.#owner);
  }

  /** Of the entry itself, also where it is a link; `undefined`: there is none. @throws LifeboatError DISK_FAILED */
  statOf(name: string): Stats | undefined {
    try {
      return lstatSync(this.#pathOf(name), { throwIfNoEntry: false });
    } catch (error) {
      throw cannotRead(this.path + name, error);
    }
  }

  /** Where the link leads; `undefined`: it is gone, or none. @throws LifeboatError DISK_FAILED */
  linkOf(name: string): string | undefined {
    try {
      return readlinkSync(this.#pathOf(name), 'latin1');
    } catch (error) {
      if (['ENOENT', 'EINVAL'].includes(codeOf(error) ?? '')) return undefined;
      throw cannotRead(this.path + name, error);
    }
  }

  /** An entry that may be a link to a folder, as pg_wal often is; `undefined`: there is none. @throws LifeboatError DISK_FAILED */
  follow(name: string): Folder | undefined {
    try {
      const fd = openSync(this.#pathOf(name), O_RDONLY | O_DIRECTORY);
      return new Folder({ fd, stat: fstatSync(fd) }, `${this.path}${name}/`);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw cannotRead(this.path + name, error);
    }
  }

  close(): void {
    closeSync(this.fd);
  }

  #pathOf(name: string): string | Buffer {
    return bytesOf(`/proc/self/fd/${this.fd}/${name}`);
  }
}

/**
 * Whether PostgreSQL's user could have read it too. Root reads everything: a second name below the data directory, of a file that is
 * kept from that user, would bring its contents into a backup that the user may fetch. Of its groups nothing is known here.
 */
function mayRead(owner: number, stat: Stats): boolean {
  if (stat.uid === owner || (stat.mode & 0o004) !== 0) return true;
  const isSecondName = stat.nlink > 1 && !stat.isDirectory();
  return (stat.mode & 0o040) !== 0 && !isSecondName;
}

/** Node makes UTF-8 of a string. */
function bytesOf(path: string): string | Buffer {
  // eslint-disable-next-line no-control-regex
  return /^[\u0000-\u007f]*$/.test(path) ? path : Buffer.from(path, 'latin1');
}
