import type { FileHandle } from 'node:fs/promises';
import type { ArchiveHead } from './archive-reader.ts';

/** K_OFFSET_POS_SET in PostgreSQL's src/bin/pg_dump/pg_backup_archiver.h. */
const OFFSET_KNOWN = 2;

export interface DataOffset {
  /** Where in the archive's table of contents the entry has its field for it. */
  readonly position: number;
  /** Where its block begins. */
  readonly offset: number;
}

/** Enters into an archive's file where blocks begin, which pg_dump cannot do in a pipe. */
export async function enterOffsets(
  file: FileHandle,
  { offsetSize }: ArchiveHead,
  offsets: readonly DataOffset[],
): Promise<void> {
  for (const { position, offset } of offsets) {
    const field = Buffer.alloc(1 + offsetSize);
    field[0] = OFFSET_KNOWN;
    field.writeUIntLE(offset, 1, Math.min(6, offsetSize));
    await file.write(field, 0, field.length, position);
  }
}
