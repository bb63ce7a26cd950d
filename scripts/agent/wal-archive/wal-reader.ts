import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { parsePitrKey } from '../../../lib/domain/wal/keys.ts';
import { parseWalMetadata } from '../../../lib/domain/wal/wal-metadata.ts';
import { WalScanner } from '../data-path/wal/wal-scanner.ts';
import { releaseMemory } from '../data-path/release-memory.ts';
import type { WalReader } from '../ports/wal.ts';
import type { WalStores } from '../catalog/wal.ts';
import { sha256 } from './pack-wal.ts';

const decompressed = promisify(zstdDecompress);
/** Room beyond the raw length, so that zlib sees the frame's end without asking for a second output buffer. */
const SPARE = 1024;

export function openWalReader({ backups, state }: WalStores): WalReader {
  return {
    read: async (key) => {
      const store = parsePitrKey(key)?.role === 'journal' ? state : backups;
      const url = store.urlOf(key);
      const there = await store.head(key);
      if (!there) throw new LifeboatError('BACKUP_NOT_FOUND', `There is no ${url}`);
      const { rawSize, rawSha256 } = parseWalMetadata(there.metadata, url);
      const body = await store.read(key);
      const bytes = await decompress(body, rawSize, url);
      releaseMemory(body);
      const found = sha256(bytes);
      if (bytes.length === rawSize && found === rawSha256) return bytes;
      throw new LifeboatError(
        'CORRUPT',
        `${url} holds ${bytes.length} bytes of WAL with SHA-256 ${found}; its metadata says ${rawSize} with ${rawSha256}`,
        { hint: HINT },
      );
    },
    check: (from, segmentSize, systemIdentifier) =>
      new WalScanner({
        from,
        segmentSize,
        systemIdentifier: BigInt(systemIdentifier),
        verify: true,
        listener: {},
      }),
  };
}

const HINT =
  'An earlier version of the object may be whole: aws s3api list-object-versions. Otherwise make a new base backup: lifeboat backup --kind base';

async function decompress(body: Buffer, rawSize: number, url: string): Promise<Buffer> {
  try {
    return await decompressed(body, {
      chunkSize: Math.max(64, rawSize + SPARE),
      maxOutputLength: rawSize + SPARE,
    });
  } catch (cause) {
    throw new LifeboatError('CORRUPT', `${url} does not decompress: ${(cause as Error).message}`, {
      cause,
      hint: HINT,
    });
  }
}
