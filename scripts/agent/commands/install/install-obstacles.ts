import { LifeboatError, combineProblems } from '../../../../lib/domain/errors.ts';
import { cronFileName } from '../../../../lib/domain/install/cron.ts';
import { isOurs } from '../../../../lib/domain/install/schedule.ts';
import { timerName } from '../../../../lib/domain/install/systemd.ts';
import type { Machine, MachineFacts } from '../../ports/install.ts';
import type { Settings } from '../../settings.ts';
import { SYSTEM_CRON_FOLDER, UNIT_FOLDER, type Plan } from './install-plan.ts';
import type { InstallOptions, Scheduler } from './install-steps.ts';

/**
 * Everything that would stop the installation midway is found before its first step.
 * @throws LifeboatError PREFLIGHT_FAILED with every problem at once
 */
export async function refuseObstacles(
  machine: Machine,
  facts: MachineFacts,
  plan: Plan,
  { scheduler, force, wal }: InstallOptions,
  { app, database, s3 }: Settings,
): Promise<void> {
  const problems: LifeboatError[] = [];
  if (scheduler === 'cron' && facts.system && !(await machine.folderExists(SYSTEM_CRON_FOLDER))) {
    problems.push(
      refusal(
        `There is no ${SYSTEM_CRON_FOLDER}: no cron on this host`,
        'Install cron, or run: lifeboat install --systemd',
      ),
    );
  }
  if (database.name === undefined) {
    problems.push(
      refusal(
        'DB_NAME is not set, and the scheduled backup gets the settings of this moment',
        'Set DB_NAME in the environment or in .env; sudo drops what is exported unless it runs as: sudo --preserve-env',
      ),
    );
  }
  if (wal && s3 === undefined) {
    problems.push(
      refusal('S3_BUCKET is not set, and WAL is kept in S3 alone', 'Set it in the environment or in .env'),
    );
  }
  if (!force) problems.push(...(await findForeignFiles(machine, plan, app)));
  problems.push(...(await findOtherSchedule(machine, facts, app, scheduler)));
  const problem = combineProblems(problems);
  if (problem) throw problem;
}

async function findForeignFiles(machine: Machine, plan: Plan, app: string): Promise<LifeboatError[]> {
  const problems: LifeboatError[] = [];
  for (const { path } of plan.scheduleFiles) {
    const text = await machine.readFile(path);
    if (text === undefined || isOurs(text, app)) continue;
    problems.push(
      refusal(
        `${path} is there already, and lifeboat did not write it`,
        'Look at it; add --force to replace it.',
      ),
    );
  }
  return problems;
}

/** Two schedulers would start two runs at the same second. */
async function findOtherSchedule(
  machine: Machine,
  { system }: MachineFacts,
  app: string,
  scheduler: Scheduler,
): Promise<LifeboatError[]> {
  const [path, flag] =
    scheduler === 'cron'
      ? [`${UNIT_FOLDER}/${timerName(app)}`, '--systemd']
      : [`${SYSTEM_CRON_FOLDER}/${cronFileName(app)}`, '--cron'];
  if (!system || (await machine.readFile(path)) === undefined) return [];
  return [
    refusal(`${path} starts the same backup already`, `Run first: lifeboat install ${flag} --uninstall`),
  ];
}

function refusal(message: string, hint: string): LifeboatError {
  return new LifeboatError('PREFLIGHT_FAILED', message, { hint });
}
