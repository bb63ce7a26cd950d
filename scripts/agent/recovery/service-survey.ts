import { execFile } from 'node:child_process';
import { readFile, realpath } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { DebianCluster, ServiceFacts, SystemdUnit } from '../../../lib/domain/base/in-place-service.ts';
import type { Environment } from '../environment.ts';
import type { ServerPrograms } from '../ports/recovery.ts';
import { findPostmaster } from './postmaster.ts';

/** Where Debian's programs keep the configuration of clusters: PgCommon.pm of postgresql-common. */
const CONFIGURATION_ROOT = '/etc/postgresql';
/** Variables of postgresql-common, besides what every program needs. */
const PASSED = ['PATH', 'PG_CLUSTER_CONF_ROOT', 'PGSYSCONFDIR'] as const;
const LIMIT_MS = 30_000;

/** What the programs that stop and start services are given of our environment. */
export function serviceEnvironment(environment: Environment): Record<string, string> {
  const passed = PASSED.flatMap((name) => {
    const value = environment[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', ...Object.fromEntries(passed) };
}

export async function surveyServices(
  environment: Environment,
  dataDir: string,
  programs: ServerPrograms | undefined,
): Promise<Omit<ServiceFacts, 'configFile' | 'commands'>> {
  const env = serviceEnvironment(environment);
  const postmaster = (await findPostmaster(dataDir))?.pid;
  const clusters = await listDebianClusters(env);
  const root = env['PG_CLUSTER_CONF_ROOT'] ?? CONFIGURATION_ROOT;
  return {
    dataDir,
    postmaster,
    serverOptions: await readServerOptions(dataDir),
    programs: programs?.folder ?? '',
    debian: clusters && { configurationRoot: root, clusters },
    units: await readUnits(env, await unitNames(postmaster, programs)),
  };
}

/** @returns standard output; `undefined`: the program is not there, or refuses */
async function ask(
  env: Record<string, string>,
  program: string,
  args: readonly string[],
): Promise<string | undefined> {
  try {
    return (await promisify(execFile)(program, args, { env, timeout: LIMIT_MS })).stdout;
  } catch {
    // A host that is not of this kind; the decision is made from what the others say.
    return undefined;
  }
}

/** Version, name, port, status, owner, data directory, log file; only the data directory may hold spaces. */
async function listDebianClusters(env: Record<string, string>): Promise<DebianCluster[] | undefined> {
  const listed = await ask(env, 'pg_lsclusters', ['--no-header']);
  if (listed === undefined) return undefined;
  const clusters: DebianCluster[] = [];
  for (const line of listed.split('\n')) {
    const [version, cluster, , , , ...rest] = line.trim().split(/\s+/);
    const dataDir = rest.slice(0, -1).join(' ');
    if (version === undefined || cluster === undefined || !dataDir.startsWith('/')) continue;
    clusters.push({ version, cluster, dataDir: await realpath(dataDir).catch(() => dataDir) });
  }
  return clusters;
}

async function unitNames(
  postmaster: number | undefined,
  programs: ServerPrograms | undefined,
): Promise<string[]> {
  const names = ['postgresql.service'];
  if (programs) names.push(`postgresql-${Math.floor(programs.versionNumber / 10_000)}.service`);
  const own = postmaster === undefined ? undefined : await unitOf(postmaster);
  return own === undefined || names.includes(own) ? names : [...names, own];
}

/** The control group says which unit a process belongs to, whatever its name: https://systemd.io/CGROUP_DELEGATION */
async function unitOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
  return /\/system\.slice\/(?:.*\/)?([^/\n]+\.service)$/m.exec(text)?.[1];
}

async function readUnits(env: Record<string, string>, names: readonly string[]): Promise<SystemdUnit[]> {
  const shown = await ask(env, 'systemctl', [
    'show',
    '--property=Id,LoadState,Environment,MainPID',
    '--',
    ...names,
  ]);
  const blocks = (shown ?? '').split(/\n{2,}/);
  return await Promise.all(blocks.flatMap(parseUnit).map(withRealPath));
}

/** `KEY=value` lines; a block for each unit. */
function parseUnit(block: string): SystemdUnit[] {
  const facts = new Map(
    block.split('\n').map((line) => [line.replace(/=.*/, ''), line.replace(/^[^=]*=/, '')]),
  );
  const unit = facts.get('Id');
  if (unit === undefined || facts.get('LoadState') !== 'loaded') return [];
  const dataDir = /(?:^|[\s"])PGDATA=([^\s"]+)/.exec(facts.get('Environment') ?? '')?.[1];
  return [{ unit, dataDir: dataDir && path.resolve(dataDir), mainPid: Number(facts.get('MainPID') ?? 0) }];
}

async function withRealPath(unit: SystemdUnit): Promise<SystemdUnit> {
  const { dataDir } = unit;
  return dataDir === undefined ? unit : { ...unit, dataDir: await realpath(dataDir).catch(() => dataDir) };
}

/** What follows the program in postmaster.opts, quoted for the shell that pg_ctl starts the server with. */
async function readServerOptions(dataDir: string): Promise<string> {
  const text = await readFile(path.join(dataDir, 'postmaster.opts'), 'utf8').catch(() => '');
  const options = text.trim().replace(/^\S+\s*/, '');
  // pg_ctl names the data directory itself.
  return options.replace(/^"-D" "[^"]*"\s*/, '');
}
