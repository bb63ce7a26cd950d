import { LifeboatError } from '../../../lib/domain/errors.ts';
import { parsePitrKey } from '../../../lib/domain/wal/keys.ts';
import { parseWalMetadata } from '../../../lib/domain/wal/wal-metadata.ts';
import { decompressFrame } from '../data-path/decompress-frame.ts';
import { WalScanner } from '../data-path/wal/wal-scanner.ts';
import { releaseMemory } from '../data-path/release-memory.ts';
import type { WalReader } from '../ports/wal.ts';
import type { WalStores } from '../catalog/wal.ts';
import { sha256 } from './pack-wal.ts';

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
    release: releaseMemory,
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
    return await decompressFrame(body, 'zstd', rawSize);
  } catch (cause) {
    throw new LifeboatError('CORRUPT', `${url} does not decompress: ${(cause as Error).message}`, {
      cause,
      hint: HINT,
    });
  }
}
