import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { WalFile } from '../../../lib/domain/wal/archive.ts';
import { parsePitrKey } from '../../../lib/domain/wal/keys.ts';
import { formatLsn } from '../../../lib/domain/wal/lsn.ts';
import { readPageHeader, readSegmentFacts } from '../data-path/wal/wal-page.ts';
import type { WalReader } from '../ports/wal.ts';

/**
 * A segment as recovery takes it: pieces joined, and zeros after the last byte up to the segment's size.
 * @throws LifeboatError CORRUPT when it holds more than a segment, S3_…
 */
export async function assembleSegment(
  reader: Pick<WalReader, 'read'>,
  file: WalFile,
  segmentSize: number,
): Promise<Buffer> {
  const [only] = file.files;
  if (file.kind === 'segment' && only) {
    const bytes = await reader.read(only.key);
    if (bytes.length === segmentSize) return bytes;
    throw new LifeboatError(
      'CORRUPT',
      `${only.key} holds ${bytes.length} bytes, a segment has ${segmentSize}`,
    );
  }
  const segment = Buffer.alloc(segmentSize);
  for (const { key } of file.files) {
    const bytes = await reader.read(key);
    const object = parsePitrKey(key);
    const offset = object?.role === 'journal' ? Number(object.from - file.start) : 0;
    if (offset < 0 || offset + bytes.length > segmentSize) {
      throw new LifeboatError(
        'CORRUPT',
        `${key} holds ${bytes.length} bytes, more than fit into its segment`,
      );
    }
    bytes.copy(segment, offset);
  }
  return segment;
}

/**
 * PostgreSQL takes WAL of another cluster, or of another place, for the end of the WAL, and would open the cluster without
 * whatever comes behind.
 * @throws LifeboatError CORRUPT
 */
export function requireOwnWal(segment: Buffer, { start, files }: WalFile, systemIdentifier: string): void {
  const { magic, addressLow, addressHigh } = readPageHeader(segment, 0);
  const address = (BigInt(addressHigh) << 32n) | BigInt(addressLow);
  const facts = readSegmentFacts(segment, 0);
  if (magic !== 0 && address === start && String(facts.systemIdentifier) === systemIdentifier) return;
  const found =
    magic === 0 || address !== start
      ? `the WAL in it is not that of ${formatLsn(start)}`
      : `it is WAL of the cluster ${facts.systemIdentifier}, not of ${systemIdentifier}`;
  throw new LifeboatError('CORRUPT', `${files[0]?.key ?? 'A segment'}: ${found}`);
}
