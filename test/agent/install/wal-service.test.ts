import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { openWalService, type WalServiceRequest } from '../../../scripts/agent/commands/wal/wal-service.ts';
import { openMachine } from '../../../scripts/agent/host/machine.ts';
import { parseUnitState } from '../../../scripts/agent/host/unit-state.ts';
import type { Machine, UnitState } from '../../../scripts/agent/ports/install.ts';

const UNIT = '/etc/systemd/system/hostmaster-wal.service';
const SETTINGS = '/etc/lifeboat/hostmaster-wal.env';
const ACTIVE: UnitState = {
  active: 'active',
  sub: 'running',
  result: 'success',
  exitStatus: 0,
  needsReload: false,
};
const INACTIVE: UnitState = {
  active: 'inactive',
  sub: 'dead',
  result: 'success',
  exitStatus: 0,
  needsReload: false,
};
const FAILED: UnitState = {
  active: 'failed',
  sub: 'failed',
  result: 'exit-code',
  exitStatus: 2,
  needsReload: false,
};

let root: string;
let calls: string[];
let state: UnitState;
let variables: Record<string, string>;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'lifeboat root '));
  calls = [];
  state = INACTIVE;
  variables = { DB_NAME: 'hostmaster_prod', S3_BUCKET: 'backups', DB_PASSWORD: 'se"cret' };
});
afterEach(() => rmSync(root, { recursive: true }));

const at = (path: string): string => join(root, path);

/** systemd as far as it is asked: what is restarted runs. */
function booted(): Machine {
  const real = openMachine({ environment: {}, root });
  return {
    ...real,
    facts: async () => ({ ...(await real.facts()), systemdRuns: true }),
    systemctl: async (args) => {
      calls.push(args.join(' '));
      if (args[0] === 'restart') state = ACTIVE;
    },
    unitState: async () => state,
  };
}

function service(changes: Partial<WalServiceRequest> = {}, machine = booted()) {
  const request: WalServiceRequest = {
    app: 'hostmaster',
    osUser: userInfo().username,
    backupDir: '/var/backups/hostmaster',
    dbHost: '/var/run/postgresql',
    slot: 'lifeboat_hostmaster',
    wanted: true,
    variables: async () => variables,
    ...changes,
  };
  const log = { info: () => undefined, warn: () => undefined };
  return openWalService({ machine, log: log as never }, request);
}

const STARTED = ['daemon-reload', 'enable hostmaster-wal.service', 'restart hostmaster-wal.service'];

describe('The service that streams WAL, which each run looks after', () => {
  it('is installed by the first one, with the password in a file of root’s alone', async () => {
    expect(await service().keep()).toEqual([]);
    expect(readFileSync(at(UNIT), 'utf8')).toMatch(/\nExecStart=\S+lifeboat\S* wal stream\n/);
    expect(readFileSync(at(UNIT), 'utf8')).toContain(`\nEnvironmentFile=${SETTINGS}\n`);
    expect(readFileSync(at(UNIT), 'utf8')).not.toContain('cret');
    expect(readFileSync(at(SETTINGS), 'utf8')).toContain('DB_PASSWORD="se\\"cret"\n');
    expect(statSync(at(SETTINGS)).mode & 0o777).toBe(0o600);
    expect(calls).toEqual(STARTED);
    expect(await service().check()).toEqual([]);
  });

  it('brings no timer: the stack starts the backups', async () => {
    await service().keep();
    expect(existsSync(at('/etc/systemd/system/hostmaster-backup.timer'))).toBe(false);
    expect(existsSync(at('/etc/lifeboat/hostmaster.env'))).toBe(false);
  });

  it('is left running by the next ones', async () => {
    await service().keep();
    calls = [];
    expect(await service().keep()).toEqual([]);
    expect(calls).toEqual([]);
  });

  it('is started again with new settings, and with another version of the agent', async () => {
    await service().keep();
    calls = [];
    variables = { ...variables, DB_PASSWORD: 'rotated' };
    expect(await service().keep()).toEqual([]);
    expect(calls).toEqual(STARTED);
    calls = [];
    const before = booted();
    const updated: Machine = {
      ...before,
      facts: async () => ({
        ...(await before.facts()),
        walCommand: ['/opt/lifeboat/2.0.0-abc/bin/lifeboat', 'wal', 'stream'],
      }),
    };
    expect(await service({}, updated).keep()).toEqual([]);
    expect(calls).toEqual(STARTED);
    expect(readFileSync(at(UNIT), 'utf8')).toContain(
      'ExecStart=/opt/lifeboat/2.0.0-abc/bin/lifeboat wal stream',
    );
  });

  it.each(['daemon-reload', 'enable hostmaster-wal.service', 'restart hostmaster-wal.service'])(
    'is started again where the run before was killed at “%s”, although its files are as they should be',
    async (command) => {
      await service().keep();
      const before = booted();
      const killed: Machine = {
        ...before,
        systemctl: async (args) => {
          if (args.join(' ') === command) throw new LifeboatError('TERMINATED', 'SIGTERM');
          await before.systemctl(args);
        },
      };
      variables = { ...variables, DB_PASSWORD: 'rotated' };
      await service({}, killed).keep();
      calls = [];
      expect(await service().keep()).toEqual([]);
      expect(calls).toEqual(STARTED);
      calls = [];
      expect(await service().keep()).toEqual([]);
      expect(calls).toEqual([]);
    },
  );

  it('is started again where systemd has not read its file yet', async () => {
    await service().keep();
    calls = [];
    state = { ...ACTIVE, needsReload: true };
    expect(await service().keep()).toEqual([]);
    expect(calls).toEqual(STARTED);
  });

  it.each([
    [FAILED, 'was failed, exit-code, exit status 2; it was started again'],
    [INACTIVE, 'was inactive (dead); it was started again'],
    [
      { active: 'activating', sub: 'auto-restart', result: 'signal', exitStatus: 9, needsReload: false },
      'was activating (auto-restart), signal, exit status 9; it was started again',
    ],
  ])('is started again when it does not run, and the run tells so', async (found, told) => {
    await service().keep();
    state = found;
    expect(await service().keep()).toEqual([`hostmaster-wal.service, which streams WAL, ${told}`]);
    expect(state).toBe(ACTIVE);
  });

  it('that ended again meanwhile is told of at the run’s end, with where to look', async () => {
    await service().keep();
    state = FAILED;
    expect(await service().check()).toEqual([
      'WAL is not streamed: hostmaster-wal.service was failed, exit-code, exit status 2. Look at: journalctl -u hostmaster-wal.service -n 50',
    ]);
  });

  it('that somebody else wrote is left alone, and told of', async () => {
    mkdirSync(at('/etc/systemd/system'), { recursive: true });
    writeFileSync(at(UNIT), '[Service]\nExecStart=/usr/bin/mine\n');
    expect(await service().keep()).toEqual([expect.stringContaining('is not Lifeboat’s and was left alone')]);
    expect(readFileSync(at(UNIT), 'utf8')).toContain('/usr/bin/mine');
    expect(calls).toEqual([]);
  });

  it('never ends a run, whatever systemd says', async () => {
    const machine: Machine = {
      ...booted(),
      systemctl: () => {
        throw new LifeboatError('INSTALL_FAILED', 'systemctl enable ended with status 1', { hint: 'Look.' });
      },
    };
    expect(await service({}, machine).keep()).toEqual([
      'hostmaster-wal.service, which streams WAL, could not be looked after: systemctl enable ended with status 1\n→ Look.',
    ]);
  });

  it('cannot be where no systemd runs, and the run tells so', async () => {
    const machine = openMachine({ environment: {}, root });
    expect(await service({}, machine).keep()).toEqual([expect.stringContaining('runs no systemd')]);
    expect(await service({}, machine).check()).toEqual([]);
    expect(existsSync(at('/etc'))).toBe(false);
  });

  it('goes when point-in-time recovery is switched off, with what to do about its slot', async () => {
    const off = service({ wanted: false });
    expect(await off.keep()).toEqual([]);
    await service().keep();
    calls = [];
    expect(await off.keep()).toEqual([
      expect.stringContaining("SELECT pg_drop_replication_slot('lifeboat_hostmaster')"),
    ]);
    expect(calls).toEqual(['disable --now hostmaster-wal.service', 'daemon-reload']);
    expect(readdirSync(at('/etc/lifeboat'))).toEqual([]);
    expect([existsSync(at(UNIT)), existsSync(at(SETTINGS))]).toEqual([false, false]);
    expect(await off.keep()).toEqual([]);
    expect(await off.check()).toEqual([]);
  });
});

describe('What systemctl show says', () => {
  it('is read by name, in whatever order', () => {
    const shown =
      'ExecMainStatus=2\nResult=exit-code\nNeedDaemonReload=yes\nActiveState=failed\nSubState=failed\n';
    expect(parseUnitState(shown)).toEqual({ ...FAILED, needsReload: true });
    const nothing = { active: 'unknown', sub: '', result: '', exitStatus: undefined, needsReload: false };
    expect(parseUnitState('')).toEqual(nothing);
  });
});
