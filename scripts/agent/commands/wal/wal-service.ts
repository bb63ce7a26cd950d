import { asLifeboatError } from '../../../../lib/domain/errors.ts';
import { renderEnvironmentFile } from '../../../../lib/domain/install/environment-file.ts';
import { isOurs } from '../../../../lib/domain/install/schedule.ts';
import { renderWalService, walServiceName } from '../../../../lib/domain/install/systemd.ts';
import type { Log } from '../../ports/host.ts';
import type { Machine, UnitState } from '../../ports/install.ts';
import type { RunService } from '../../ports/run.ts';
import { SETTINGS_FOLDER, UNIT_FOLDER } from '../install/install-plan.ts';
import { chooseUser } from '../install/install-user.ts';

export interface WalServicePorts {
  readonly machine: Machine;
  readonly log: Log;
}

/** What the deployment says of the stream of WAL. */
export interface WalServiceRequest {
  readonly app: string;
  readonly osUser: string;
  readonly backupDir: string;
  /** A socket's folder or a host name. */
  readonly dbHost: string;
  readonly slot: string;
  /** Off: what an earlier run installed is taken away again. */
  readonly wanted: boolean;
  /** The service's settings, a password among them; read when they are to be written down. */
  readonly variables: () => Promise<Readonly<Record<string, string>>>;
}

/** The systemd service that streams WAL, as every run of the backup document keeps it. */
export function openWalService(ports: WalServicePorts, request: WalServiceRequest): RunService {
  return {
    keep: () => telling(request, () => (request.wanted ? keep(ports, request) : withdraw(ports, request))),
    check: () => telling(request, () => (request.wanted ? check(ports, request) : Promise.resolve([]))),
  };
}

/** The run itself goes on: a backup matters more than the service that goes with it. */
async function telling({ app }: WalServiceRequest, work: () => Promise<string[]>): Promise<string[]> {
  try {
    return await work();
  } catch (error) {
    const { message, hint } = asLifeboatError(error);
    return [`${walServiceName(app)}, which streams WAL, could not be looked after: ${message}\n→ ${hint}`];
  }
}

interface Files {
  readonly unit: string;
  readonly settings: string;
  /** Lies there from before the first change until the service has been started with it. */
  readonly restart: string;
}

/** Beside what `lifeboat install` writes, whose timer and settings are a person's. */
function filesOf(app: string): Files {
  return {
    unit: `${UNIT_FOLDER}/${walServiceName(app)}`,
    settings: `${SETTINGS_FOLDER}/${app}-wal.env`,
    restart: `${SETTINGS_FOLDER}/${app}-wal.restart`,
  };
}

/** Installs it where it is missing, writes it anew where settings or agent are others, and starts it where it does not run. */
async function keep({ machine, log }: WalServicePorts, request: WalServiceRequest): Promise<string[]> {
  const { app } = request;
  const [unit, files] = [walServiceName(app), filesOf(app)];
  const facts = await machine.facts();
  if (!facts.system) return [`${unit} was not looked after: only root may`];
  if (!facts.systemdRuns)
    return [
      'This host runs no systemd, so nothing starts the stream of WAL: run lifeboat wal stream by its init',
    ];
  const found = await machine.readFile(files.unit);
  if (found !== undefined && !isOurs(found, app))
    return [`${files.unit} is not Lifeboat’s and was left alone: WAL is streamed only if it does so`];
  const before = await machine.unitState(unit);
  const user = await chooseUser(machine, facts, { scheduler: 'systemd', user: request.osUser });
  const text = renderWalService({
    app,
    user: user.name,
    command: facts.walCommand,
    environmentFile: files.settings,
    backupDir: request.backupDir,
    socketFolder: request.dbHost.startsWith('/') ? request.dbHost : undefined,
    localMail: false,
  });
  const settings = renderEnvironmentFile(app, await request.variables());
  // One that was killed between writing and starting left files that look right, and a process that has not read them.
  const left = (await machine.createFile(files.restart, { mode: 0o600 })) === 'unchanged';
  const written = [
    await machine.writeFile(files.settings, settings, { mode: 0o600 }),
    await machine.writeFile(files.unit, text, { mode: 0o644 }),
  ];
  const changed = left || before.needsReload || written.includes('written');
  if (!changed && before.active === 'active') {
    await machine.removeFile(files.restart);
    return [];
  }
  if (changed) await machine.systemctl(['daemon-reload']);
  await machine.systemctl(['enable', unit]);
  await machine.systemctl(['restart', unit]);
  await machine.removeFile(files.restart);
  log.info(found === undefined ? `✅ ${unit} installed: it streams WAL to S3` : `✅ ${unit} started again`);
  return found === undefined || before.active === 'active'
    ? []
    : [`${unit}, which streams WAL, ${describe(before)}; it was started again`];
}

/** At the run's end: what started at its beginning may have ended since. */
async function check({ machine, log }: WalServicePorts, { app }: WalServiceRequest): Promise<string[]> {
  const unit = walServiceName(app);
  const { system, systemdRuns } = await machine.facts();
  // `keep` has told of it.
  if (!system || !systemdRuns || (await machine.readFile(filesOf(app).unit)) === undefined) return [];
  const state = await machine.unitState(unit);
  if (state.active === 'active') return [];
  const warning = `WAL is not streamed: ${unit} ${describe(state)}. Look at: journalctl -u ${unit} -n 50`;
  log.warn(warning);
  return [warning];
}

/** Takes away what `keep` installed once, and nothing that a person did. */
async function withdraw({ machine, log }: WalServicePorts, request: WalServiceRequest): Promise<string[]> {
  const { app, slot } = request;
  const [unit, files] = [walServiceName(app), filesOf(app)];
  const { system, systemdRuns } = await machine.facts();
  if (!system || !systemdRuns || (await machine.readFile(files.settings)) === undefined) return [];
  const text = (await machine.readFile(files.unit)) ?? '';
  if (isOurs(text, app) && text.includes(files.settings)) {
    await machine.systemctl(['disable', '--now', unit]);
    await machine.removeFile(files.unit);
    await machine.systemctl(['daemon-reload']);
  }
  await machine.removeFile(files.restart);
  await machine.removeFile(files.settings);
  log.info(`${unit} was removed: pointInTimeRecovery is off`);
  return [
    `Point-in-time recovery is off: ${unit} was stopped and removed. Its replication slot goes on holding WAL back until it is dropped: SELECT pg_drop_replication_slot('${slot}')`,
  ];
}

function describe({ active, sub, result, exitStatus }: UnitState): string {
  const why = result === '' || result === 'success' ? '' : `, ${result}`;
  const status = exitStatus === undefined || exitStatus === 0 ? '' : `, exit status ${exitStatus}`;
  return `was ${active}${sub === '' || sub === active ? '' : ` (${sub})`}${why}${status}`;
}
