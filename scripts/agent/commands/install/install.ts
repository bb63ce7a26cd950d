import { LifeboatError } from '../../../../lib/domain/errors.ts';
import {
  chooseVariables,
  parseEnvironmentFile,
  renderEnvironmentFile,
} from '../../../../lib/domain/install/environment-file.ts';
import { serviceName, timerName, walServiceName } from '../../../../lib/domain/install/systemd.ts';
import type { Machine, MachineFacts } from '../../ports/install.ts';
import { parseSettings, type Settings } from '../../settings.ts';
import { refuseObstacles } from './install-obstacles.ts';
import { planInstallation, settingsPath, type Plan } from './install-plan.ts';
import { uninstall } from './install-removal.ts';
import {
  changeCrontab,
  systemctl,
  type InstallOptions,
  type InstallResult,
  type InstallStep,
} from './install-steps.ts';
import { chooseUser } from './install-user.ts';

export interface InstallPorts {
  readonly machine: Machine;
}

/**
 * `lifeboat install`: has systemd or cron run `lifeboat backup` at 02:00 UTC. The settings of this moment are written
 * down once; from then on that file holds, also for a later installation, until `force` writes it anew. Nothing that
 * lifeboat did not make is replaced or removed without `force`.
 * @throws LifeboatError PREFLIGHT_FAILED, SETTINGS_INVALID, DISK_FAILED, INSTALL_FAILED
 */
export async function install(
  { machine }: InstallPorts,
  options: InstallOptions,
  given: Settings,
): Promise<InstallResult> {
  const { scheduler, action } = options;
  const facts = await machine.facts();
  if (scheduler === 'systemd' && !facts.system && action !== 'print') throw onlyRoot(action);
  if (action === 'uninstall') return uninstall(machine, facts, options, given);
  const user = await chooseUser(machine, facts, options);
  // A user who only looks at the units may not read what root wrote down.
  const readable = !options.force && (facts.system || scheduler === 'cron');
  const path = settingsPath({ app: given.app, facts, user, scheduler });
  const keptText = readable ? await machine.readFile(path) : undefined;
  const settings = keptText === undefined ? given : parseKeptSettings(keptText, path, given.app);
  const plan = planInstallation({ settings, facts, user, scheduler, keptText, wal: options.wal });
  if (action === 'print') return print(plan);
  await refuseObstacles(machine, facts, plan, options, settings);
  return carryOut(machine, facts, plan, options, given);
}

function onlyRoot(action: 'install' | 'uninstall'): LifeboatError {
  const flag = action === 'uninstall' ? ' --uninstall' : '';
  return new LifeboatError('PREFLIGHT_FAILED', `Only root may ${action} a systemd unit`, {
    hint: `Run: sudo --preserve-env lifeboat install --systemd${flag}${action === 'install' ? ' (or --cron for your own crontab)' : ''}`,
  });
}

function parseKeptSettings(text: string, path: string, app: string): Settings {
  try {
    return { ...parseSettings(parseEnvironmentFile(text)), app };
  } catch (error) {
    throw new LifeboatError('SETTINGS_INVALID', `In ${path}: ${(error as Error).message}`, {
      hint: 'Correct that file, or add --force to write it anew from the settings of this moment.',
      cause: error,
    });
  }
}

function print(plan: Plan): InstallResult {
  const { path, shownText } = plan.environmentFile;
  const crontab =
    plan.crontabBlock === undefined ? [] : [{ path: 'crontab -e', text: `${plan.crontabBlock}\n` }];
  const files = [{ path, text: shownText }, ...plan.scheduleFiles, ...crontab];
  return { files, steps: [], warnings: plan.warnings, next: [] };
}

async function carryOut(
  machine: Machine,
  facts: MachineFacts,
  plan: Plan,
  { scheduler, wal = false }: InstallOptions,
  given: Settings,
): Promise<InstallResult> {
  const { user, backupDir, logFile } = plan;
  const steps: InstallStep[] = [];
  steps.push({
    what: await machine.createFolder(backupDir, { mode: 0o700, owner: user }),
    subject: backupDir,
  });
  if (logFile !== undefined) {
    steps.push({ what: await machine.createFile(logFile, { mode: 0o640, owner: user }), subject: logFile });
  }
  steps.push(await writeSettings(machine, plan, given));
  for (const { path, text } of plan.scheduleFiles) {
    steps.push({ what: await machine.writeFile(path, text, { mode: 0o644 }), subject: path });
  }
  if (plan.crontabBlock !== undefined) steps.push(await changeCrontab(machine, given.app, plan.crontabBlock));
  const warnings = [...plan.warnings, ...(await findTraps(machine, plan))];
  if (scheduler === 'cron') return { files: [], steps, warnings, next: [] };
  const started = await startUnits(machine, facts, given.app, wal);
  return { files: [], steps: [...steps, ...started.steps], warnings, next: started.next };
}

async function writeSettings(machine: Machine, plan: Plan, given: Settings): Promise<InstallStep> {
  const { path, text, owner, keptText } = plan.environmentFile;
  // Also when the text stays: systemd's root and cron's user need different owners.
  const what = await machine.writeFile(path, text, { mode: 0o600, ...(owner && { owner }) });
  const asGiven = renderEnvironmentFile(given.app, chooseVariables(given.environment).variables);
  if (keptText === undefined || keptText === asGiven) return { what, subject: path };
  return { what: 'kept', subject: path, note: 'its settings hold; --force writes those of this moment' };
}

async function startUnits(
  machine: Machine,
  { systemdRuns }: MachineFacts,
  app: string,
  wal: boolean,
): Promise<{ steps: InstallStep[]; next: string[] }> {
  // The stream may run already, with the unit of before.
  const stream = [
    ['enable', walServiceName(app)],
    ['restart', walServiceName(app)],
  ];
  const commands = [['daemon-reload'], ['enable', '--now', timerName(app)], ...(wal ? stream : [])];
  const tryNow = `systemctl start ${serviceName(app)}`;
  if (!systemdRuns)
    return { steps: [], next: [...commands.map((words) => `systemctl ${words.join(' ')}`), tryNow] };
  const steps: InstallStep[] = [];
  for (const command of commands) steps.push(await systemctl(machine, command));
  return { steps, next: [tryNow, `systemctl list-timers ${timerName(app)}`] };
}

async function findTraps(machine: Machine, { user, backupDir, command }: Plan): Promise<string[]> {
  const program = command[0] ?? '';
  const warnings: string[] = [];
  if (!(await machine.mayAccess(user, backupDir, 'write'))) {
    warnings.push(`${user.name} may not be able to write to ${backupDir}: look at its owner and mode`);
  }
  if (!(await machine.mayAccess(user, program, 'run'))) {
    warnings.push(
      `${user.name} may not be able to run ${program}: install lifeboat where every user can reach it, such as /opt/lifeboat`,
    );
  }
  return warnings;
}
