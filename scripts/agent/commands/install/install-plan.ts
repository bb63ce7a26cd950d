import { cronFileName, renderCronFile, renderCrontabBlock } from '../../../../lib/domain/install/cron.ts';
import {
  chooseVariables,
  renderEnvironmentFile,
  renderEnvironmentForPeople,
} from '../../../../lib/domain/install/environment-file.ts';
import type { ScheduledBackup } from '../../../../lib/domain/install/schedule.ts';
import {
  renderService,
  renderTimer,
  renderWalService,
  serviceName,
  timerName,
  walServiceName,
} from '../../../../lib/domain/install/systemd.ts';
import type { MachineFacts, MachineUser } from '../../ports/install.ts';
import type { Settings } from '../../settings.ts';
import type { Scheduler } from './install-steps.ts';

export const UNIT_FOLDER = '/etc/systemd/system';
export const SYSTEM_CRON_FOLDER = '/etc/cron.d';
export const SETTINGS_FOLDER = '/etc/lifeboat';
const LOG_FOLDER = '/var/log';

/** Everything that an installation writes, known before its first step. */
export interface Plan {
  readonly user: MachineUser;
  readonly command: readonly string[];
  readonly backupDir: string;
  /** cron only: systemd keeps the log itself. */
  readonly logFile: string | undefined;
  readonly environmentFile: PlannedSettings;
  readonly scheduleFiles: readonly PlannedFile[];
  /** For a user without root's rights, who has a crontab of their own. */
  readonly crontabBlock: string | undefined;
  readonly warnings: readonly string[];
}

interface PlannedFile {
  readonly path: string;
  readonly text: string;
}

interface PlannedSettings extends PlannedFile {
  /** Without secrets. */
  readonly shownText: string;
  /** What an earlier installation wrote, or somebody since, and which stays. */
  readonly keptText: string | undefined;
  /** Default: root. */
  readonly owner?: MachineUser;
}

export interface PlanInput {
  readonly settings: Settings;
  readonly facts: MachineFacts;
  readonly user: MachineUser;
  readonly scheduler: Scheduler;
  readonly keptText?: string | undefined;
  /** Also the service that streams WAL. */
  readonly wal?: boolean | undefined;
}

/** Where the settings of a scheduled backup lie. */
export function settingsPath({
  app,
  facts,
  user,
  scheduler,
}: Pick<PlanInput, 'facts' | 'user' | 'scheduler'> & { readonly app: string }): string {
  const folder = usesOwnCrontab(facts, scheduler) ? `${user.home}/.config/lifeboat` : SETTINGS_FOLDER;
  return `${folder}/${app}.env`;
}

function usesOwnCrontab({ system }: MachineFacts, scheduler: Scheduler): boolean {
  return scheduler === 'cron' && !system;
}

/** @throws LifeboatError SETTINGS_INVALID when a path or a value cannot be written down */
export function planInstallation(input: PlanInput): Plan {
  const { settings, facts, user, scheduler, keptText, wal = false } = input;
  const { app, backupDir, environment } = settings;
  const ownCrontab = usesOwnCrontab(facts, scheduler);
  const { variables, warnings } = chooseVariables(environment);
  const environmentFile = {
    path: settingsPath({ app, facts, user, scheduler }),
    text: keptText ?? renderEnvironmentFile(app, variables),
    shownText: renderEnvironmentForPeople(app, variables),
    keptText,
  };
  const command = facts.backupCommand;
  const schedule: ScheduledBackup = { app, user: user.name, command, environmentFile: environmentFile.path };
  const common = { user, command, backupDir, warnings };
  if (scheduler === 'systemd') {
    // systemd reads the settings as root, so nobody else has to.
    return {
      ...common,
      environmentFile,
      scheduleFiles: planUnits(schedule, settings, wal ? facts.walCommand : undefined),
      crontabBlock: undefined,
      logFile: undefined,
    };
  }
  const logFile = `${ownCrontab ? `${user.home}/.local/state/lifeboat` : LOG_FOLDER}/${app}-backup.log`;
  const cron = { ...schedule, logFile, zoneIsUtc: facts.zoneIsUtc };
  const scheduleFiles = [{ path: `${SYSTEM_CRON_FOLDER}/${cronFileName(app)}`, text: renderCronFile(cron) }];
  return {
    ...common,
    environmentFile: { ...environmentFile, owner: user },
    logFile,
    scheduleFiles: ownCrontab ? [] : scheduleFiles,
    crontabBlock: ownCrontab ? renderCrontabBlock(cron) : undefined,
    warnings: [...warnings, 'cron does not make up for a night that the host slept through; --systemd does'],
  };
}

function planUnits(
  schedule: ScheduledBackup,
  { app, backupDir, database, notify }: Settings,
  walCommand: readonly string[] | undefined,
): PlannedFile[] {
  const unit = {
    ...schedule,
    backupDir,
    socketFolder: database.host.startsWith('/') ? database.host : undefined,
    localMail: notify.emailTo.length > 0 && notify.smtpUrl === undefined,
  };
  const backup = [
    { path: `${UNIT_FOLDER}/${serviceName(app)}`, text: renderService(unit) },
    { path: `${UNIT_FOLDER}/${timerName(app)}`, text: renderTimer(app) },
  ];
  if (walCommand === undefined) return backup;
  const text = renderWalService({ ...unit, command: walCommand });
  return [...backup, { path: `${UNIT_FOLDER}/${walServiceName(app)}`, text }];
}
