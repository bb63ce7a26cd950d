import { closeSync, readSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatLsn, type Lsn } from '../../../lib/domain/wal/lsn.ts';
import { CRC32C_START, finishCrc32c, updateCrc32c } from '../data-path/wal/crc32c.ts';
import { CONTROL_FILE } from './cluster-walk.ts';
import { cannotRead } from './disk-failure.ts';
import type { Folder, OpenEntry } from './folder.ts';

/** The server writes it whole, but not at once for those who read meanwhile. */
const TRIES = 50;
const BETWEEN_TRIES_MS = 20;
const SIZE = 8192;
/** Where the checksum lies depends on the version: behind all fields, which fit one sector of a disk. */
const FIELDS = { least: 200, most: 512 };
/** checkPointCopy.redo of ControlFileData (src/include/catalog/pg_control.h), in the same place from 14 to 18. */
const REDO_AT = 40;

export interface ControlFile {
  readonly stat: OpenEntry['stat'];
  readonly bytes: Buffer;
  readonly systemIdentifier: string;
  /** Where the last checkpoint began. */
  readonly redo: Lsn;
}

/**
 * pg_control as it was at one moment: its own checksum says so.
 * @param root the data directory
 * @throws LifeboatError DISK_FAILED, CORRUPT where it stays damaged
 */
export async function readControlFile(root: Folder): Promise<ControlFile> {
  for (let time = 0; time < TRIES; time += 1) {
    if (time > 0) await sleep(BETWEEN_TRIES_MS);
    const { stat, bytes } = readOnce(root);
    if (!isWhole(bytes)) continue;
    // In the byte order of the machine: little-endian, as on all that PostgreSQL is packaged for.
    const systemIdentifier = String(bytes.readBigUInt64LE());
    return { stat, bytes, systemIdentifier, redo: bytes.readBigUInt64LE(REDO_AT) };
  }
  throw new LifeboatError('CORRUPT', `${root.path}${CONTROL_FILE} does not match its own checksum`, {
    hint: 'PostgreSQL’s own control file is damaged: check the disk (dmesg), and what pg_controldata says of it.',
  });
}

/**
 * The backup began with a checkpoint, of which the server's own control file tells. A copy of the data directory in its place, such as a
 * mount that only this process sees, has an older one: its files would be a backup of the past.
 * @throws LifeboatError DISK_FAILED
 */
export function requireOwnCheckpoint({ redo }: Pick<ControlFile, 'redo'>, start: Lsn, folder: string): void {
  if (redo >= start) return;
  throw new LifeboatError(
    'DISK_FAILED',
    `${folder} is not the folder that the server works in: its last checkpoint began at ${formatLsn(redo)}, that of this backup at ${formatLsn(start)}`,
    { hint: 'Have PostgreSQL send the files: BASE_BACKUP_FILES=never' },
  );
}

function readOnce(root: Folder): Pick<ControlFile, 'stat' | 'bytes'> {
  const path = root.path + CONTROL_FILE;
  const found = root.open(CONTROL_FILE);
  if (typeof found === 'string') throw new LifeboatError('DISK_FAILED', `${path} is no file`);
  try {
    // A longer one, or a shorter one, is none of a version that we know; its checksum then tells.
    const bytes = Buffer.alloc(SIZE);
    const count = readSync(found.fd, bytes, 0, SIZE, 0);
    return { stat: found.stat, bytes: bytes.subarray(0, count) };
  } catch (error) {
    throw cannotRead(path, error);
  } finally {
    closeSync(found.fd);
  }
}

/** @returns whether somewhere behind the fields stands the CRC-32C of all that is before it */
export function isWhole(bytes: Buffer): boolean {
  if (bytes.length !== SIZE) return false;
  let state = updateCrc32c(CRC32C_START, bytes, 0, FIELDS.least);
  for (let at = FIELDS.least; at < FIELDS.most; at += 4) {
    if (bytes.readUInt32LE(at) === finishCrc32c(state)) return true;
    state = updateCrc32c(state, bytes, at, at + 4);
  }
  return false;
}
