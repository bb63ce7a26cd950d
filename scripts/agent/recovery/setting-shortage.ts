import { appendFile } from 'node:fs/promises';
import path from 'node:path';
import { onDisk } from '../host/durable-file.ts';

/** The WAL needs more of something than the recovered server was started with. */
export interface SettingShortage {
  readonly setting: string;
  /** With which to start again. */
  readonly value: number;
}

/** Of a hot standby; the server says what the source has. https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-ADMIN */
const LOWER = /(\w+) = \d+ is a lower setting than on the primary(?: server)?, where its value was (\d+)/;
/** How many there are at a time nobody says: a few more rounds at worst. */
const PREPARED = /Increase "?max_prepared_transactions"? \(currently (\d+)\)/;
const RAISE_PREPARED = { least: 100, factor: 4 };
const ORIGINS = /increase "?(max_replication_slots|max_active_replication_origins)"?/i;
/** An origin's number has 16 bits. */
const MOST_ORIGINS = 65_535;

/** @param line of the server's log, English */
export function hearShortage(line: string): SettingShortage | undefined {
  const [, lower, needed] = LOWER.exec(line) ?? [];
  if (lower !== undefined) return { setting: lower, value: Number(needed) };
  const [, prepared] = PREPARED.exec(line) ?? [];
  if (prepared !== undefined) {
    const value = Math.max(RAISE_PREPARED.least, RAISE_PREPARED.factor * Number(prepared));
    return { setting: 'max_prepared_transactions', value };
  }
  const [, origins] = ORIGINS.exec(line) ?? [];
  return origins === undefined ? undefined : { setting: origins, value: MOST_ORIGINS };
}

/** Of the same setting the last line in the file counts. */
export async function raiseSetting(dataDir: string, { setting, value }: SettingShortage): Promise<void> {
  const file = path.join(dataDir, 'postgresql.conf');
  await onDisk(`Cannot write ${file}`, () => appendFile(file, `${setting} = '${value}'\n`));
}
