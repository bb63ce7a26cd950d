import { editCrontab } from '../../../../lib/domain/install/cron.ts';
import type { Machine } from '../../ports/install.ts';

/** What an installation and its removal are asked for, report, and do alike. */

export type Scheduler = 'systemd' | 'cron';

export interface InstallOptions {
  readonly scheduler: Scheduler;
  readonly action: 'install' | 'print' | 'uninstall';
  /** Who is to run the backup; default: postgres, where there is such a user. */
  readonly user?: string;
  /** Replace settings, and units of the same name, that differ. */
  readonly force: boolean;
  /** Also the service that streams WAL to S3, for point-in-time recovery; systemd only. */
  readonly wal?: boolean;
  /** On uninstall, remove the settings as well. */
  readonly purge: boolean;
}

export interface InstallStep {
  readonly what: 'written' | 'unchanged' | 'created' | 'removed' | 'kept' | 'ran';
  /** A path, or a command. */
  readonly subject: string;
  readonly note?: string;
}

export interface InstallResult {
  /** `print` only: what would be written, secrets left out. */
  readonly files: readonly { readonly path: string; readonly text: string }[];
  readonly steps: readonly InstallStep[];
  readonly warnings: readonly string[];
  /** Commands for the operator, in order. */
  readonly next: readonly string[];
}

export async function changeCrontab(
  machine: Machine,
  app: string,
  block: string | undefined,
): Promise<InstallStep> {
  const before = await machine.readCrontab();
  const after = editCrontab(before, app, block);
  if (after === before) return { what: 'unchanged', subject: 'crontab' };
  await machine.writeCrontab(after);
  return { what: block === undefined ? 'removed' : 'written', subject: 'crontab' };
}

export async function systemctl(machine: Machine, words: readonly string[]): Promise<InstallStep> {
  await machine.systemctl(words);
  return { what: 'ran', subject: `systemctl ${words.join(' ')}` };
}
