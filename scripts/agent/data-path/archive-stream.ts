import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Compression } from '../../../lib/domain/backup/keys.ts';
import { onDisk, readFully } from '../host/durable-file.ts';
import { findZstdFrames } from './archive-zstd-frames.ts';

/**
 * Decompresses a file without an index, as one stream: dumps of the user's own scripts. zlib passes over zero bytes after
 * a gzip member, as gzip does; that the dump is complete must be told by the dump itself.
 */

const READ_SIZE = 1024 * 1024;

/**
 * @param where named in errors
 * @throws LifeboatError CORRUPT when the file is damaged or cut short
 */
export async function* readStream(
  file: FileHandle,
  size: number,
  compression: Compression | 'none',
  where: string,
): AsyncGenerator<Buffer> {
  if (compression === 'none') yield* readRange(file, 0, size, where);
  else if (compression === 'gzip') {
    yield* decode(createGunzip({ chunkSize: READ_SIZE }), readRange(file, 0, size, where), where);
  } else {
    for await (const frame of findZstdFrames(file, size, where)) {
      yield* decode(
        createZstdDecompress({ chunkSize: READ_SIZE }),
        readRange(file, frame.offset, frame.size, where),
        where,
      );
    }
  }
}

type Decoder = ReturnType<typeof createGunzip> | ReturnType<typeof createZstdDecompress>;

async function* decode(
  decoder: Decoder,
  source: AsyncGenerator<Buffer>,
  where: string,
): AsyncGenerator<Buffer> {
  const input = Readable.from(source, { objectMode: false, highWaterMark: READ_SIZE });
  input.on('error', (error) => decoder.destroy(error));
  input.pipe(decoder);
  try {
    for await (const chunk of decoder) yield chunk as Buffer;
  } catch (cause) {
    if (cause instanceof LifeboatError) throw cause;
    throw new LifeboatError('CORRUPT', `${where} does not decompress: ${(cause as Error).message}`, {
      cause,
    });
  } finally {
    input.destroy();
    decoder.destroy();
  }
}

async function* readRange(
  file: FileHandle,
  from: number,
  length: number,
  where: string,
): AsyncGenerator<Buffer> {
  for (let done = 0; done < length;) {
    const chunk = Buffer.allocUnsafe(Math.min(READ_SIZE, length - done));
    const read = await onDisk(`Cannot read ${where}`, () => readFully(file, chunk, from + done));
    if (read < chunk.length) throw new LifeboatError('CORRUPT', `${where} became shorter while it was read`);
    done += read;
    yield chunk;
  }
}
