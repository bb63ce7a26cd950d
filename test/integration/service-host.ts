import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive } from './agent-process.ts';

/** A host with a systemd that starts what its units say: systemctl.sh, in a /etc and a /run of its own. */
export interface ServiceHost {
  /** What makes a program see it; it needs root. */
  readonly through: readonly string[];
  /** What systemctl was told so far, `show` left out. */
  calls(): string[];
  /** A file of the host. */
  read(file: string): string;
  /** Process id of a unit’s main process; `undefined`: it was never started, or was stopped. */
  pidOf(unit: string): number | undefined;
  /** What a unit printed. */
  log(unit: string): string;
  /** Kills a unit’s main process, as the kernel does for want of memory. */
  kill(unit: string): Promise<void>;
  giveRole(credentials: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken: string;
  }): void;
  stopAll(): Promise<void>;
}

const MOUNTS = 'mount --bind "$1/etc" /etc && mount --bind "$1/run" /run && mount --bind "$1/systemctl" "$2"';

export function prepareServiceHost(folder: string): ServiceHost {
  const at = (...names: string[]): string => path.join(folder, ...names);
  const systemctl = execFileSync('sh', ['-c', 'command -v systemctl'], { encoding: 'utf8' }).trim();
  mkdirSync(at('run/systemd/system'), { recursive: true });
  mkdirSync(at('state'));
  execFileSync('cp', ['-a', '/etc', at('etc')]);
  writeFileSync(at('run/systemd/test-folder'), `${at('state')}\n`);
  copyFileSync(path.join(import.meta.dirname, 'systemctl.sh'), at('systemctl'));
  chmodSync(at('systemctl'), 0o755);
  const read = (file: string): string => (existsSync(file) ? readFileSync(file, 'utf8') : '');
  const pidOf = (unit: string): number | undefined => Number(read(at('state', `${unit}.pid`))) || undefined;
  const kill = async (unit: string): Promise<void> => {
    const pid = pidOf(unit);
    if (pid === undefined || !isAlive(pid)) return;
    process.kill(pid, 'SIGKILL');
    while (isAlive(pid)) await sleep(20);
  };
  return {
    through: ['unshare', '--mount', 'sh', '-c', `${MOUNTS} && shift 2 && exec "$@"`, 'sh', folder, systemctl],
    calls: () =>
      read(at('state/calls'))
        .split('\n')
        .filter((call) => call !== '' && !call.startsWith('show ')),
    read: (file) => read(at(file)),
    pidOf,
    log: (unit) => read(at('state', `${unit}.log`)),
    kill,
    giveRole: ({ accessKeyId, secretAccessKey, sessionToken }) =>
      writeFileSync(
        at('state/role.env'),
        `AWS_ACCESS_KEY_ID='${accessKeyId}'\nAWS_SECRET_ACCESS_KEY='${secretAccessKey}'\nAWS_SESSION_TOKEN='${sessionToken}'\n`,
        { mode: 0o600 },
      ),
    stopAll: async () => {
      const pids = readdirSync(at('state')).filter((name) => name.endsWith('.pid'));
      for (const name of pids) await kill(name.slice(0, -'.pid'.length));
    },
  };
}
