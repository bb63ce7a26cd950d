import { readFile, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { onDisk } from '../host/durable-file.ts';
import type { Log } from '../ports/host.ts';
import { keepTablespacesInside } from './tablespace-records.ts';

/** Sees to it that no WAL of a recovery leads into a tablespace of the live cluster; says once of each what became of it. */
export class TablespacesInside {
  readonly #log: Log;
  readonly #told = new Set<number>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** @returns `segment` itself, changed. @throws LifeboatError RESTORE_REFUSED */
  take(segment: Buffer, name: string): Buffer {
    for (const { oid, location } of keepTablespacesInside(segment, name)) {
      if (this.#told.has(oid)) continue;
      this.#told.add(oid);
      this.#log.info(
        `The tablespace in ${location} was made after the base backup: pg_tblspc/${oid} takes its place (standbys of this cluster will need allow_in_place_tablespaces = on)`,
      );
    }
    return segment;
  }

  /** The WAL that came with the base backup. @param others those that are handed out in place of a file here */
  async takeFolder(folder: string, others: ReadonlySet<string>): Promise<void> {
    await onDisk(`Cannot change WAL in ${folder}`, async () => {
      for (const name of await readdir(folder)) {
        if (!/^[0-9A-F]{24}$/.test(name) || others.has(name)) continue;
        const file = path.join(folder, name);
        const before = await readFile(file);
        const segment = this.take(Buffer.from(before), name);
        if (!segment.equals(before)) await writeFile(file, segment);
      }
    });
  }
}
