import type { Answer } from '../answer.ts';
import { status } from '../commands/catalog/status.ts';
import { openContext } from '../context.ts';
import { openWalStores } from '../wal-stores.ts';
import { renderStatus, statusAsJson } from '../render/status.ts';

const HOUR_MS = 60 * 60 * 1000;

export async function runStatus(): Promise<Answer> {
  const context = openContext({ json: true });
  const { app, maxBackupAgeHours } = context.settings;
  const result = await status(
    { ...context, wal: openWalStores(context) },
    { app, maxAgeMs: maxBackupAgeHours * HOUR_MS },
  );
  return { lines: renderStatus(result), json: statusAsJson(result), failure: result.failure };
}
