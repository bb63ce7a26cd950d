import { LifeboatError } from '../errors.ts';

/** Who stops and starts the PostgreSQL of this host. */
export type Service =
  /** https://manpages.debian.org/pg_ctlcluster; it asks systemd itself where that runs */
  | { readonly kind: 'debian'; readonly version: string; readonly cluster: string }
  /** RHEL, Amazon Linux, PGDG's packages: https://www.freedesktop.org/software/systemd/man/systemctl.html */
  | { readonly kind: 'systemd'; readonly unit: string }
  /** @param options what the server was started with, as in postmaster.opts */
  | { readonly kind: 'pg_ctl'; readonly program: string; readonly options: string }
  | { readonly kind: 'commands'; readonly stop: readonly string[]; readonly start: readonly string[] };

export interface DebianCluster {
  readonly version: string;
  readonly cluster: string;
  readonly dataDir: string;
}

/** As `systemctl show` tells of it. */
export interface SystemdUnit {
  readonly unit: string;
  /** PGDATA of its environment. */
  readonly dataDir: string | undefined;
  /** Of its main process; 0 when it does not run. */
  readonly mainPid: number;
}

export interface ServiceFacts {
  readonly dataDir: string;
  /** Of the server that runs on it. */
  readonly postmaster: number | undefined;
  readonly serverOptions: string;
  /** Folder of the server's programs. */
  readonly programs: string;
  /** `undefined`: there is no pg_ctlcluster on this host. */
  readonly debian:
    { readonly configurationRoot: string; readonly clusters: readonly DebianCluster[] } | undefined;
  readonly units: readonly SystemdUnit[];
  /** The source's config_file, as the base backup has it. */
  readonly configFile: string | undefined;
  /** What the operator says; it wins over all that is found. */
  readonly commands: { readonly stop: readonly string[]; readonly start: readonly string[] } | undefined;
}

/** Debian's cluster before systemd's unit, which only calls pg_ctlcluster; a process' own unit before one that is merely of that name. */
export function decideService(facts: ServiceFacts): Service {
  const { commands, debian, units, dataDir, postmaster, configFile } = facts;
  if (commands) return { kind: 'commands', ...commands };
  const cluster = debian?.clusters.find((each) => each.dataDir === dataDir);
  if (cluster) return { kind: 'debian', version: cluster.version, cluster: cluster.cluster };
  const missing = debian && clusterOf(configFile, debian.configurationRoot);
  const isMissing = !debian?.clusters.some(
    (each) => each.version === missing?.version && each.cluster === missing.cluster,
  );
  if (missing && isMissing) return { kind: 'debian', ...missing };
  const running = units.find(({ mainPid }) => mainPid > 0 && mainPid === postmaster);
  // What runs outside of the unit of that name would not be stopped by it.
  const named = postmaster === undefined ? units.find((each) => each.dataDir === dataDir) : undefined;
  const unit = running ?? named;
  if (unit) return { kind: 'systemd', unit: unit.unit };
  return { kind: 'pg_ctl', program: `${facts.programs}/pg_ctl`, options: facts.serverOptions };
}

/** `/etc/postgresql/15/main/postgresql.conf` is that of 15/main. */
function clusterOf(
  configFile: string | undefined,
  root: string,
): { version: string; cluster: string } | undefined {
  if (configFile === undefined || !configFile.startsWith(`${root}/`)) return undefined;
  const [version = '', cluster = '', file, more] = configFile.slice(root.length + 1).split('/');
  if (!/^\d{2}$/.test(version) || !/^[\w.-]+$/.test(cluster) || file === undefined || more !== undefined)
    return undefined;
  return { version, cluster };
}

interface ServiceCommands {
  readonly stop: readonly string[];
  readonly start: readonly string[];
  /** As the server's own user, where we are root. */
  readonly asOwner: boolean;
}

/** Arrays, never shell lines. @param log where a server without a log of its own writes */
export function commandsOf(service: Service, dataDir: string, log: string): ServiceCommands {
  switch (service.kind) {
    case 'debian': {
      const { version, cluster } = service;
      const each = (action: string): string[] => ['pg_ctlcluster', version, cluster, action];
      return { stop: [...each('stop'), '-m', 'fast'], start: each('start'), asOwner: false };
    }
    case 'systemd':
      return {
        stop: ['systemctl', 'stop', service.unit],
        start: ['systemctl', 'start', service.unit],
        asOwner: false,
      };
    case 'pg_ctl': {
      const common = [service.program, '-D', dataDir, '-w', '-t', '86400'];
      const options = service.options === '' ? [] : ['-o', service.options];
      return {
        stop: [...common, '-m', 'fast', 'stop'],
        start: [...common, '-l', log, ...options, 'start'],
        asOwner: true,
      };
    }
    case 'commands':
      return { stop: service.stop, start: service.start, asOwner: false };
  }
}

/** For plans and questions. */
export function describeService(service: Service): string {
  switch (service.kind) {
    case 'debian':
      return `Debian cluster ${service.version}/${service.cluster} (pg_ctlcluster)`;
    case 'systemd':
      return `${service.unit} (systemctl)`;
    case 'pg_ctl':
      return 'the server (pg_ctl; no service of this host knows its data directory)';
    case 'commands':
      return 'the server (by the commands given)';
  }
}

/**
 * As typed: words between spaces, or a JSON array of strings where one of them holds a space. No shell reads it.
 * @throws LifeboatError USAGE
 */
export function parseCommand(option: string, text: string): readonly string[] {
  const words = text.trim().startsWith('[') ? parseWords(text) : text.trim().split(/\s+/).filter(Boolean);
  if (words && words.length > 0 && words[0] !== '') return words;
  throw new LifeboatError('USAGE', `${option} ${JSON.stringify(text)} is no command`, {
    hint: `Write it as in: ${option} 'systemctl stop postgresql', or as a JSON array: ${option} '["pg_ctl", "-D", "/my data", "stop"]'`,
  });
}

function parseWords(text: string): string[] | undefined {
  try {
    const words: unknown = JSON.parse(text);
    const isText = (each: unknown): each is string => typeof each === 'string';
    return Array.isArray(words) && words.every(isText) ? words : undefined;
  } catch {
    return undefined;
  }
}
