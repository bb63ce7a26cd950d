import { readFile, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import type { RateBook } from '../ports/restore.ts';

const rate = z.number().positive().optional();
const schema = z.object({ download: rate, plain: rate, custom: rate });

/** A small JSON file in BACKUP_DIR. It only makes estimates better, so what is wrong with it is never a failure. */
export function openRateBook(path: string): RateBook {
  return {
    read: async () => {
      try {
        return schema.parse(JSON.parse(await readFile(path, 'utf8')));
      } catch {
        return undefined;
      }
    },
    record: async (rates) => {
      await writeFile(path, `${JSON.stringify(rates)}\n`, { mode: 0o600 }).catch(() => undefined);
    },
  };
}
