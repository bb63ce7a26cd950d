import { mkdir, open, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { runRecordSchema, type RunRecord } from '../../../lib/domain/run/run-record.ts';
import type { Journal } from '../ports/journal.ts';
import { giveToFolderOwner } from './durable-file.ts';

const KEPT_RECORDS = 1000;

/** One JSON object a line; a line that cannot be read is skipped, because the others still inform. */
export function openJournal(path: string): Journal {
  const records = async (): Promise<RunRecord[]> => {
    const text = await readFile(path, 'utf8').catch(() => '');
    return text.split('\n').flatMap(parseLine);
  };
  return {
    records,
    append: async (record) => {
      try {
        await mkdir(dirname(path), { recursive: true, mode: 0o700 });
        await appendLine(path, JSON.stringify(record));
        const all = await records();
        if (all.length > KEPT_RECORDS * 2) await rewrite(path, all.slice(-KEPT_RECORDS));
      } catch {
        // A full or read-only disk is told by the run itself; its memory of that is not worth a second failure.
      }
    },
  };
}

async function appendLine(path: string, line: string): Promise<void> {
  const file = await open(path, 'a', 0o600);
  try {
    await giveToFolderOwner(file, path);
    await file.appendFile(`${line}\n`);
  } finally {
    await file.close();
  }
}

function parseLine(line: string): RunRecord[] {
  try {
    return line ? [runRecordSchema.parse(JSON.parse(line))] : [];
  } catch {
    return [];
  }
}

async function rewrite(path: string, records: readonly RunRecord[]): Promise<void> {
  const beside = `${path}.new`;
  await writeFile(beside, records.map((record) => `${JSON.stringify(record)}\n`).join(''), { mode: 0o600 });
  await rename(beside, path);
}
