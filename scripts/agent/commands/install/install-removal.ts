import { isOurs } from '../../../../lib/domain/install/schedule.ts';
import { timerName, walServiceName } from '../../../../lib/domain/install/systemd.ts';
import type { Machine, MachineFacts } from '../../ports/install.ts';
import type { Settings } from '../../settings.ts';
import { planInstallation, UNIT_FOLDER, type Plan } from './install-plan.ts';
import {
  changeCrontab,
  systemctl,
  type InstallOptions,
  type InstallResult,
  type InstallStep,
} from './install-steps.ts';

/** Takes away exactly what an installation made, except the settings (without `purge`), the log and the backups. */
export async function uninstall(
  machine: Machine,
  facts: MachineFacts,
  { scheduler, purge }: InstallOptions,
  settings: Settings,
): Promise<InstallResult> {
  const { app } = settings;
  const plan = planInstallation({ settings, facts, user: facts.user, scheduler, wal: true });
  const steps: InstallStep[] = [];
  const ours: string[] = [];
  for (const { path } of plan.scheduleFiles) {
    const text = await machine.readFile(path);
    if (text === undefined) continue;
    if (isOurs(text, app)) ours.push(path);
    else steps.push({ what: 'kept', subject: path, note: 'lifeboat did not write it' });
  }
  const told = scheduler === 'systemd' && ours.length > 0 && facts.systemdRuns;
  if (told) {
    const wal = ours.includes(`${UNIT_FOLDER}/${walServiceName(app)}`) ? [walServiceName(app)] : [];
    steps.push(await systemctl(machine, ['disable', '--now', timerName(app), ...wal]));
  }
  for (const path of ours) {
    await machine.removeFile(path);
    steps.push({ what: 'removed', subject: path });
  }
  if (told) steps.push(await systemctl(machine, ['daemon-reload']));
  if (plan.crontabBlock !== undefined) steps.push(await changeCrontab(machine, app, undefined));
  steps.push(...(await leaveOrRemoveSettings(machine, plan, purge)));
  steps.push({ what: 'kept', subject: 'every backup, and the log' });
  return { files: [], steps, warnings: [], next: [] };
}

async function leaveOrRemoveSettings(machine: Machine, plan: Plan, purge: boolean): Promise<InstallStep[]> {
  const { path } = plan.environmentFile;
  if ((await machine.readFile(path)) === undefined) return [];
  if (!purge) return [{ what: 'kept', subject: path, note: 'it holds your settings; --purge removes it' }];
  await machine.removeFile(path);
  return [{ what: 'removed', subject: path }];
}
