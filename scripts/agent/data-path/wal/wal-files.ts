import { open, readdir } from 'node:fs/promises';
import path from 'node:path';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatLsn, type Lsn } from '../../../../lib/domain/wal/lsn.ts';
import {
  isSegmentSize,
  segmentsBetween,
  segmentStart,
  timelineOfSegment,
} from '../../../../lib/domain/wal/segment.ts';
import { isMissing, onDisk, readFully } from '../../host/durable-file.ts';
import { LONG_PAGE_HEADER, readPageHeader, readSegmentFacts } from './wal-page.ts';
import { WalScanner } from './wal-scanner.ts';

const READ_SIZE = 1024 * 1024;

export interface WalFileRange {
  /** Holds segments under their own names, such as pg_wal. */
  readonly folder: string;
  readonly timeline: number;
  /** Where a record begins. */
  readonly start: Lsn;
  /** Where a record ends. */
  readonly end: Lsn;
  readonly systemIdentifier?: bigint | undefined;
}

/**
 * Reads every record of a stretch of WAL, checksums compared, as `pg_waldump --quiet` does.
 * @returns what is wrong with it, as a sentence for people; `undefined` when recovery could replay it
 * @throws LifeboatError DISK_FAILED where a file cannot be read
 */
export async function verifyWalFiles(range: WalFileRange): Promise<string | undefined> {
  const { folder, timeline, start, end } = range;
  const segmentSize = await segmentSizeIn(folder);
  if (segmentSize === undefined) return `WAL is missing: there is no segment in ${folder}`;
  const scanner = new WalScanner({
    from: start,
    segmentSize,
    listener: {},
    verify: true,
    where: `WAL in ${folder}`,
    ...(range.systemIdentifier === undefined ? {} : { systemIdentifier: range.systemIdentifier }),
  });
  try {
    for (const name of segmentsBetween(timeline, start, end, segmentSize)) {
      const missing = await pushSegment(scanner, path.join(folder, name), end, segmentSize);
      if (missing) return `WAL is missing: there is no ${name} in ${folder}`;
    }
  } catch (error) {
    if (error instanceof LifeboatError && error.code === 'CORRUPT') return error.message;
    throw error;
  }
  if (scanner.complete >= end) return undefined;
  return `WAL in ${folder} ends at ${formatLsn(scanner.complete)}, before ${formatLsn(end)}`;
}

/** @returns whether the file is not there */
async function pushSegment(
  scanner: WalScanner,
  file: string,
  end: Lsn,
  segmentSize: number,
): Promise<boolean> {
  return onDisk(`Cannot read ${file}`, async () => {
    const handle = await open(file, 'r').catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    });
    if (!handle) return true;
    try {
      const first = segmentStart(scanner.position, segmentSize);
      const limit = Math.min(segmentSize, Number(end - first));
      const buffer = Buffer.allocUnsafe(READ_SIZE);
      for (let at = Number(scanner.position - first); at < limit;) {
        const piece = buffer.subarray(0, Math.min(READ_SIZE, limit - at));
        const read = await readFully(handle, piece, at);
        scanner.push(piece.subarray(0, read));
        if (read < piece.length) {
          throw new LifeboatError('CORRUPT', `${file} is cut off after ${at + read} bytes`);
        }
        at += read;
      }
      return false;
    } finally {
      await handle.close();
    }
  });
}

/** As the first page of any of the segments says. */
async function segmentSizeIn(folder: string): Promise<number | undefined> {
  const names = await onDisk(`Cannot list ${folder}`, () =>
    readdir(folder).catch((error: unknown) => {
      if (isMissing(error)) return [];
      throw error;
    }),
  );
  for (const name of names.filter((entry) => timelineOfSegment(entry) !== undefined)) {
    const header = Buffer.alloc(LONG_PAGE_HEADER);
    const read = await onDisk(`Cannot read ${path.join(folder, name)}`, () =>
      readHeader(path.join(folder, name), header),
    );
    if (read < header.length || readPageHeader(header, 0).major === undefined) continue;
    const { segmentSize } = readSegmentFacts(header, 0);
    if (isSegmentSize(segmentSize)) return segmentSize;
  }
  return undefined;
}

async function readHeader(file: string, header: Buffer): Promise<number> {
  const handle = await open(file, 'r');
  try {
    return await readFully(handle, header, 0);
  } finally {
    await handle.close();
  }
}
