import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type {
  CollectedDump,
  DumpProcess,
  DumpWriter,
  DumpWriterOptions,
  WrittenDump,
} from '../ports/backup.ts';
import { rejectOnAbort } from '../abort.ts';
import type { Upload } from '../ports/store.ts';
import { createDumpCounter } from './dump-counter.ts';
import { RAW_FRAME_SIZE } from './frame-buffers.ts';
import { DEFAULT_LEVEL, FrameWriter } from './frame-writer.ts';
import { OutputDigest } from './output-digest.ts';

export const dumpWriter: DumpWriter = { write: writeDump, collect: collectDump };

const gzipAsync = promisify(gzip);
/** What pg_dumpall writes last. */
const GLOBALS_TRAILER = '-- PostgreSQL database cluster dump complete';

/** One pass: each chunk is counted and framed; each frame is hashed and handed to every sink, slowest first served. */
async function writeDump(dump: DumpProcess, options: DumpWriterOptions): Promise<WrittenDump> {
  const { format, compression, interrupted } = options;
  const level = options.level ?? DEFAULT_LEVEL[compression];
  const counter = createDumpCounter(format);
  const output = new OutputDigest();
  const sinks = new Sinks(options.sinks);
  const frames = new FrameWriter({
    compression,
    level,
    emit: async (frame) => {
      output.update(frame);
      await sinks.write(frame);
    },
  });
  // A sink may wait for S3 for a minute; an interruption does not.
  const aborted = rejectOnAbort(interrupted);
  await dump.read((chunk) => {
    readAsDump(() => counter.push(chunk));
    const busy = frames.write(chunk);
    options.onProgress?.(frames.rawSize, counter.table);
    return busy && Promise.race([busy, aborted]);
  });
  const { warnings } = await Promise.race([dump.finished(), aborted]);
  await Promise.race([frames.end(), aborted]);
  return {
    ...output.result(),
    ...readAsDump(() => counter.end()),
    level,
    rawSize: frames.rawSize,
    rawFrameSize: RAW_FRAME_SIZE,
    frameSizes: frames.frameSizes,
    warnings,
    sinkErrors: sinks.errors,
  };
}

/** Bytes that are no dump are the dump program's failure; no stored copy is at fault. */
function readAsDump<Result>(read: () => Result): Result {
  try {
    return read();
  } catch (cause) {
    throw new LifeboatError('DUMP_FAILED', `What pg_dump wrote is no dump: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** A small dump, whole in memory. */
async function collectDump(dump: DumpProcess): Promise<CollectedDump> {
  const chunks: Buffer[] = [];
  await dump.read((chunk) => {
    // A copy: the chunk's memory is ours only until we return.
    chunks.push(Buffer.from(chunk));
    return undefined;
  });
  const { warnings } = await dump.finished();
  const raw = Buffer.concat(chunks);
  const body = await gzipAsync(raw);
  const output = new OutputDigest();
  output.update(body);
  return { body, ...output.result(), complete: raw.includes(GLOBALS_TRAILER), warnings };
}

/** A sink that failed is left out from then on: S3 being away must not cost the local backup. */
class Sinks {
  readonly #uploads: readonly Upload[];
  readonly errors = new Map<number, unknown>();

  constructor(uploads: readonly Upload[]) {
    this.#uploads = uploads;
  }

  async write(frame: Buffer): Promise<void> {
    await Promise.all(
      this.#uploads.map(async (upload, index) => {
        if (this.errors.has(index)) return;
        await upload.write(frame).catch((error: unknown) => this.errors.set(index, error));
      }),
    );
    // Nobody is left to write for. The last one's error is the news: the others' are known by then.
    if (this.errors.size === this.#uploads.length) throw [...this.errors.values()].at(-1);
  }
}
