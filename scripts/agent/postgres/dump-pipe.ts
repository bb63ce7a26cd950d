import { execFile } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { ChunkHandler } from '../ports/backup.ts';

/**
 * A kernel pipe from a program to us, read into one buffer again and again. Node gives a child a socket pair instead and
 * allocates memory for each read: over a large dump that costs a third of our CPU in garbage collection, and the program
 * as much again, because it writes in pieces of 4 KiB.
 */
export interface DumpPipe {
  /** For the program's standard output; to be closed here once the program has it. */
  readonly writeEnd: number;
  closeWriteEnd(): void;
  /** Resolves at the end of the stream. @throws what `handle` throws; nothing is read after that */
  read(handle: ChunkHandler): Promise<void>;
}

const BUFFER_SIZE = 256 * 1024;

/** @throws LifeboatError DISK_FAILED when the temporary folder cannot hold a named pipe for a moment */
export async function openDumpPipe(): Promise<DumpPipe> {
  const { readEnd, writeEnd } = await openNamedPipe();
  let open = true;
  return {
    writeEnd,
    closeWriteEnd: () => {
      if (open) closeSync(writeEnd);
      open = false;
    },
    read: (handle) => readPipe(readEnd, handle),
  };
}

interface PipeEnds {
  readonly readEnd: number;
  readonly writeEnd: number;
}

/** Linux's file system in memory, open to everybody. */
const IN_MEMORY = '/dev/shm';

async function openNamedPipe(): Promise<PipeEnds> {
  try {
    return await openPipeIn(tmpdir());
  } catch (cause) {
    const message = (cause as Error).message;
    // A disk without room for a name must not cost the backup that goes to S3.
    const full = /ENOSPC|EDQUOT|No space left|quota exceeded/i.test(message);
    const ends = full ? await openPipeIn(IN_MEMORY).catch(() => undefined) : undefined;
    if (ends) return ends;
    throw new LifeboatError('DISK_FAILED', `Cannot make a pipe in ${tmpdir()}: ${message}`, {
      cause,
      hint: 'Point TMPDIR at a folder that this user may write to.',
    });
  }
}

/** Nobody but this process ever sees the pipe's name: both ends are opened, then it is removed. */
async function openPipeIn(temporary: string): Promise<PipeEnds> {
  const folder = await mkdtemp(join(temporary, 'lifeboat-pipe-'));
  try {
    const path = join(folder, 'dump');
    await promisify(execFile)('mkfifo', ['-m', '600', path]);
    // The read end first and without waiting; a write end waits for a reader.
    const readEnd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return { readEnd, writeEnd: openSync(path, constants.O_WRONLY) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function readPipe(fd: number, handle: ChunkHandler): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const fail = (error: unknown): void => {
      reject(error as Error);
      socket.destroy();
    };
    const socket = new Socket({
      fd,
      readable: true,
      writable: false,
      onread: {
        buffer: Buffer.allocUnsafeSlow(BUFFER_SIZE),
        callback: (length, buffer) => {
          try {
            const busy = handle(Buffer.from(buffer.buffer, buffer.byteOffset, length));
            if (!busy) return true;
            // The buffer is the handler's until then: no reading over what it still has to copy.
            busy.then(() => socket.resume(), fail);
            return false;
          } catch (error) {
            fail(error);
            return false;
          }
        },
      },
    });
    socket.once('error', fail);
    socket.once('close', () => resolve());
    socket.resume();
  });
}
