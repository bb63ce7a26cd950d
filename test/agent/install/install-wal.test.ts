import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { install } from '../../../scripts/agent/commands/install/install.ts';
import type { InstallOptions, InstallResult } from '../../../scripts/agent/commands/install/install-steps.ts';
import { openMachine } from '../../../scripts/agent/host/machine.ts';
import type { Machine } from '../../../scripts/agent/ports/install.ts';
import { parseSettings } from '../../../scripts/agent/settings.ts';

const OPTIONS: InstallOptions = {
  scheduler: 'systemd',
  action: 'install',
  user: userInfo().username,
  force: false,
  purge: false,
  wal: true,
};
const ENVIRONMENT = { DB_NAME: 'hostmaster_prod', S3_BUCKET: 'hostmaster-backups' };
const UNIT = '/etc/systemd/system/hostmaster-wal.service';

let root: string;
beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'lifeboat root '))));
afterEach(() => rmSync(root, { recursive: true }));

const at = (path: string): string => join(root, path);

function machine(booted: Partial<Machine> = {}): Machine {
  return { ...openMachine({ environment: {}, root }), ...booted };
}

async function run(
  options: Partial<InstallOptions> = {},
  environment: Record<string, string> = ENVIRONMENT,
  on: Machine = machine(),
): Promise<InstallResult> {
  return await install({ machine: on }, { ...OPTIONS, ...options }, parseSettings(environment));
}

/** Has systemctl's calls written down instead of made. */
function booted(calls: string[]): Machine {
  const real = machine();
  return {
    ...real,
    facts: async () => ({ ...(await real.facts()), systemdRuns: true }),
    systemctl: async (args) => {
      calls.push(args.join(' '));
    },
  };
}

describe('lifeboat install --systemd --wal', () => {
  it('adds the service that streams WAL, which systemd-analyze verify has nothing to say about', async () => {
    const result = await run();
    expect(readFileSync(at(UNIT), 'utf8')).toMatch(/\nExecStart=\S+lifeboat\S* wal stream\n/);
    const { stdout, stderr } = await promisify(execFile)('systemd-analyze', [
      'verify',
      '--man=no',
      '--recursive-errors=no',
      at(UNIT),
    ]);
    expect(stdout + stderr).toBe('');
    expect(result.next).toEqual(expect.arrayContaining(['systemctl enable hostmaster-wal.service']));
  });

  it('leaves little to attack', async () => {
    await run();
    const { stdout } = await promisify(execFile)('systemd-analyze', [
      'security',
      '--offline=true',
      '--no-pager',
      at(UNIT),
    ]);
    expect(Number(/Overall exposure level for .*: ([\d.]+)/.exec(stdout)?.[1])).toBeLessThan(3);
  });

  it('starts it, again when it runs with the unit of before, and takes it away with the rest', async () => {
    const calls: string[] = [];
    await run({}, ENVIRONMENT, booted(calls));
    await run({ action: 'uninstall' }, ENVIRONMENT, booted(calls));
    expect(calls).toEqual([
      'daemon-reload',
      'enable --now hostmaster-backup.timer',
      'enable hostmaster-wal.service',
      'restart hostmaster-wal.service',
      'disable --now hostmaster-backup.timer hostmaster-wal.service',
      'daemon-reload',
    ]);
    expect(existsSync(at(UNIT))).toBe(false);
  });

  it('is not there without being asked for, and stays when an installation without it follows', async () => {
    await run({ wal: false });
    expect(existsSync(at(UNIT))).toBe(false);
    await run();
    await run({ wal: false });
    expect(existsSync(at(UNIT))).toBe(true);
  });

  it('is refused without a bucket', async () => {
    await expect(run({}, { DB_NAME: 'hostmaster_prod' })).rejects.toThrow('S3_BUCKET is not set');
    expect(existsSync(at('/etc'))).toBe(false);
  });
});
