import { open, readdir } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { dirname, join } from 'node:path';
import type {
  ConfigurationFile,
  ConfigurationReader,
  FoundConfiguration,
  ServerConfiguration,
} from '../ports/base-backup.ts';
import { isMissing, readFully } from './durable-file.ts';

/** What Debian keeps beside postgresql.conf, and the server itself does not name. https://manpages.debian.org/pg_createcluster */
const BESIDE = ['environment', 'pg_ctl.conf', 'start.conf'];
const FOLDER_BESIDE = 'conf.d';
/** Some kilobytes in earnest. */
const LARGEST_FILE = 1024 * 1024;
const PRIVATE_KEY = /-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/;

/** Reads this host's files, so only when the server runs here too. */
export const configurationReader: ConfigurationReader = {
  read: readConfiguration,
  isThisHost: async (configuration) => {
    const { dataDirectory, serverAddress } = configuration;
    return dataDirectory === undefined
      ? isOwnAddress(serverAddress)
      : await isThisHost(configuration, dataDirectory);
  },
};

async function readConfiguration(configuration: ServerConfiguration): Promise<FoundConfiguration> {
  const { dataDirectory, configFile } = configuration;
  if (dataDirectory === undefined || configFile === undefined) {
    return nothingBecause('this role may not see where it lies (GRANT pg_read_all_settings TO it)');
  }
  const isOutside = (path: string): boolean => !path.startsWith(`${dataDirectory}/`);
  const named = configuration.files.filter(isOutside);
  if (named.length === 0) return { files: [], warnings: [] };
  if (!(await isThisHost(configuration, dataDirectory)))
    return nothingBecause('the server is on another host');
  const beside = isOutside(configFile) ? await listBeside(dirname(configFile)) : [];
  const found = await Promise.all([
    ...named.map((path) => readFile(path, 'must be there')),
    ...beside.filter((path) => !named.includes(path)).map((path) => readFile(path, 'may be missing')),
  ]);
  return {
    files: found.filter((each) => typeof each === 'object'),
    warnings: found.filter((each) => typeof each === 'string'),
  };
}

function nothingBecause(reason: string): FoundConfiguration {
  return { files: [], warnings: [`The server’s configuration files were not stored: ${reason}`] };
}

/** By address; and where the control file may be read, the cluster in that folder must be this very one. */
async function isThisHost(
  { serverAddress, systemIdentifier }: ServerConfiguration,
  dataDirectory: string,
): Promise<boolean> {
  if (!isOwnAddress(serverAddress)) return false;
  try {
    const control = await readStart(join(dataDirectory, 'global/pg_control'), 8);
    // The identifier is the file's first field, in the byte order of the machine.
    return [control.readBigUInt64LE(), control.readBigUInt64BE()].some(
      (id) => String(id) === systemIdentifier,
    );
  } catch (error) {
    // Only PostgreSQL's own user may look: then the address must do. A missing one is another host's, or a container's.
    return !isMissing(error);
  }
}

/** `undefined`: a Unix socket's. That a server's address is one of ours proves nothing; that it is none does. */
export function isOwnAddress(serverAddress: string | undefined): boolean {
  const own = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
  return serverAddress === undefined || own.some(({ address }) => address === serverAddress);
}

async function listBeside(folder: string): Promise<string[]> {
  const included = await readdir(join(folder, FOLDER_BESIDE)).catch(() => []);
  const names = included.filter((name) => name.endsWith('.conf')).map((name) => join(FOLDER_BESIDE, name));
  return [...BESIDE, ...names.toSorted()].map((name) => join(folder, name));
}

/** @returns why it was not read, `undefined` where that means nothing */
async function readFile(
  path: string,
  presence: 'must be there' | 'may be missing',
): Promise<ConfigurationFile | string | undefined> {
  try {
    const file = await open(path, 'r');
    try {
      const { size, mode, mtime } = await file.stat();
      if (size > LARGEST_FILE) return `${path} was not stored: ${size} bytes are no configuration`;
      const buffer = Buffer.alloc(size);
      const body = buffer.subarray(0, await readFully(file, buffer, 0));
      if (PRIVATE_KEY.test(body.toString('latin1'))) return `${path} was not stored: it holds a private key`;
      return { path, mode: mode & 0o777, modifiedAt: mtime, body };
    } finally {
      await file.close();
    }
  } catch (error) {
    if (presence === 'may be missing' && isMissing(error)) return undefined;
    return `${path} was not stored: ${(error as Error).message}`;
  }
}

async function readStart(path: string, length: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.alloc(length);
    await readFully(file, buffer, 0);
    return buffer;
  } finally {
    await file.close();
  }
}
