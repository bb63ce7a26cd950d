import { execFile } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { install } from '../../../scripts/agent/commands/install/install.ts';
import type { InstallOptions, InstallResult } from '../../../scripts/agent/commands/install/install-steps.ts';
import { findBackupCommand } from '../../../scripts/agent/host/launcher.ts';
import { openMachine } from '../../../scripts/agent/host/machine.ts';
import type { Machine, MachineFacts } from '../../../scripts/agent/ports/install.ts';
import { renderInstall } from '../../../scripts/agent/render/install.ts';
import { parseSettings } from '../../../scripts/agent/settings.ts';

const ME = userInfo().username;
const SYSTEMD: InstallOptions = {
  scheduler: 'systemd',
  action: 'install',
  user: ME,
  force: false,
  purge: false,
};
const CRON: InstallOptions = { ...SYSTEMD, scheduler: 'cron' };
const ENVIRONMENT = {
  DB_NAME: 'hostmaster_prod',
  DB_PASSWORD: 'p"a$s',
  SLACK_WEBHOOK_URL: 'https://hooks.slack.com/x',
};

let root: string;
beforeEach(() => (root = mkdtempSync(join(tmpdir(), 'lifeboat root '))));
afterEach(() => rmSync(root, { recursive: true }));

const at = (path: string): string => join(root, path);
const read = (path: string): string => readFileSync(at(path), 'utf8');

/** A real machine below another root, with what the test wants to be different. */
function machine(facts: Partial<MachineFacts> = {}, environment = {}): Machine {
  const real = openMachine({ environment, root });
  return { ...real, facts: async () => ({ ...(await real.facts()), ...facts }) };
}

async function run(
  options: InstallOptions,
  environment: Record<string, string> = ENVIRONMENT,
  on: Machine = machine(),
): Promise<InstallResult> {
  return install({ machine: on }, options, parseSettings(environment));
}

function stepOn(result: InstallResult, subject: string): string | undefined {
  return result.steps.find((step) => step.subject === subject)?.what;
}

async function verifyUnits(app: string): Promise<{ stdout: string; stderr: string }> {
  const units = ['timer', 'service'].map((kind) => at(`/etc/systemd/system/${app}-backup.${kind}`));
  return promisify(execFile)('systemd-analyze', ['verify', '--man=no', '--recursive-errors=no', ...units]);
}

/** Needs every kind of quoting. */
const NASTY = `it's 100% "mine" \\ $HOME; tail`;

function writeProgram(name: string): string {
  const path = at(`/opt/${name}/lifeboat`);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, '#!/bin/sh\necho "$@"\n', { mode: 0o755 });
  return path;
}

describe('lifeboat install --systemd', () => {
  it('writes service, timer, settings and the backups’ folder, and says what to run where systemd does not', async () => {
    const result = await run(SYSTEMD);
    expect(read('/etc/systemd/system/hostmaster-backup.timer')).toContain('OnCalendar=*-*-* 02:00:00 UTC');
    expect(read('/etc/systemd/system/hostmaster-backup.service')).toContain(`\nUser=${ME}\n`);
    expect(read('/etc/lifeboat/hostmaster.env')).toContain('DB_PASSWORD="p\\"a\\$s"\n');
    expect(statSync(at('/etc/lifeboat/hostmaster.env')).mode & 0o777).toBe(0o600);
    expect(statSync(at('/var/backups/hostmaster')).mode & 0o777).toBe(0o700);
    expect(result.next).toEqual([
      'systemctl daemon-reload',
      'systemctl enable --now hostmaster-backup.timer',
      'systemctl start hostmaster-backup.service',
    ]);
    expect(readdirSync(at('/etc/systemd/system'))).toHaveLength(2);
  });

  it.each([
    ['as it is by default', ENVIRONMENT],
    ['with e-mail through sendmail', { ...ENVIRONMENT, EMAIL_TO: 'admin@example.com' }],
    ['with a socket in /tmp', { ...ENVIRONMENT, DB_HOST: '/tmp' }],
    ['with an app name of every allowed kind', { ...ENVIRONMENT, APP_NAME: 'Shop_2.prod-eu' }],
    ['with a nasty folder', { ...ENVIRONMENT, BACKUP_DIR: `/srv/${NASTY}` }],
  ])('writes units that systemd-analyze verify has nothing to say about, %s', async (_name, environment) => {
    await run(
      SYSTEMD,
      environment,
      machine({ backupCommand: [writeProgram('100% free; to all'), 'backup'] }),
    );
    const { stdout, stderr } = await verifyUnits(
      (environment as Record<string, string>)['APP_NAME'] ?? 'hostmaster',
    );
    expect(stdout + stderr).toBe('');
  });

  it('has the shell start a program whose path systemd itself would refuse', async () => {
    const program = writeProgram(NASTY);
    await run(SYSTEMD, ENVIRONMENT, machine({ backupCommand: [program, 'backup'] }));
    const { stdout, stderr } = await verifyUnits('hostmaster');
    expect(stdout + stderr).toBe('');
    expect(read('/etc/systemd/system/hostmaster-backup.service')).toContain('\nExecStart=/bin/sh "/');
  });

  it('is not verified by luck: a program that is not there is noticed', async () => {
    await run(SYSTEMD, ENVIRONMENT, machine({ backupCommand: ['/nonexistent/lifeboat', 'backup'] }));
    await expect(verifyUnits('hostmaster')).rejects.toThrow('/nonexistent/lifeboat');
  });

  it('leaves little to attack', async () => {
    await run(SYSTEMD, ENVIRONMENT);
    const unit = at('/etc/systemd/system/hostmaster-backup.service');
    const { stdout } = await promisify(execFile)('systemd-analyze', [
      'security',
      '--offline=true',
      '--no-pager',
      unit,
    ]);
    const level = Number(/Overall exposure level for .*: ([\d.]+)/.exec(stdout)?.[1]);
    expect(level).toBeLessThan(3);
  });

  it('changes nothing when it runs again', async () => {
    await run(SYSTEMD);
    const result = await run(SYSTEMD);
    expect(new Set(result.steps.map(({ what }) => what))).toEqual(new Set(['unchanged']));
  });

  it('keeps settings that are there, and makes the units fit them', async () => {
    await run(SYSTEMD, { ...ENVIRONMENT, BACKUP_DIR: '/data/backups' });
    const before = `${read('/etc/lifeboat/hostmaster.env')}# by hand\n`;
    writeFileSync(at('/etc/lifeboat/hostmaster.env'), before);
    // As sudo runs it: nothing exported.
    const result = await run(SYSTEMD, {});
    expect(stepOn(result, '/etc/lifeboat/hostmaster.env')).toBe('kept');
    expect(read('/etc/lifeboat/hostmaster.env')).toBe(before);
    expect(read('/etc/systemd/system/hostmaster-backup.service')).toContain('ReadWritePaths=/data/backups\n');
    await run({ ...SYSTEMD, force: true }, { ...ENVIRONMENT, DB_NAME: 'other' });
    expect(read('/etc/lifeboat/hostmaster.env')).toContain('DB_NAME="other"');
  });

  it('does not replace a unit that somebody else wrote, unless forced', async () => {
    mkdirSync(at('/etc/systemd/system'), { recursive: true });
    writeFileSync(at('/etc/systemd/system/hostmaster-backup.service'), '[Service]\nExecStart=/my/own\n');
    await expect(run(SYSTEMD)).rejects.toThrow(
      'hostmaster-backup.service is there already, and lifeboat did not write it',
    );
    expect(existsSync(at('/etc/lifeboat'))).toBe(false);
    await run({ ...SYSTEMD, force: true });
    expect(read('/etc/systemd/system/hostmaster-backup.service')).toContain('Made by lifeboat');
  });

  it('refuses at once everything that would make the nightly run fail', async () => {
    await expect(run(SYSTEMD, {})).rejects.toThrow('DB_NAME is not set');
    await expect(run({ ...SYSTEMD, user: 'no-such-user-here' })).rejects.toThrow('There is no user');
    await expect(run({ ...SYSTEMD, user: 'root\nExecStart=/bin/id' })).rejects.toThrow('There is no user');
    await expect(run(SYSTEMD, ENVIRONMENT, machine({ system: false }))).rejects.toMatchObject({
      code: 'PREFLIGHT_FAILED',
      hint: expect.stringContaining('sudo'),
    });
    expect(existsSync(at('/etc'))).toBe(false);
  });

  it('has systemd take the timer up where it runs, in the right order', async () => {
    const calls: string[] = [];
    const booted: Machine = {
      ...machine({ systemdRuns: true }),
      systemctl: async (args) => {
        expect(existsSync(at('/etc/systemd/system/hostmaster-backup.timer'))).toBe(
          args[0] !== 'daemon-reload' || calls.length < 3,
        );
        calls.push(args.join(' '));
      },
    };
    await run(SYSTEMD, ENVIRONMENT, booted);
    await run({ ...SYSTEMD, action: 'uninstall' }, ENVIRONMENT, booted);
    expect(calls).toEqual([
      'daemon-reload',
      'enable --now hostmaster-backup.timer',
      'disable --now hostmaster-backup.timer',
      'daemon-reload',
    ]);
  });

  it('shows everything and writes nothing with --print, secrets left out', async () => {
    const result = await run({ ...SYSTEMD, action: 'print' });
    const text = renderInstall(result).join('\n');
    expect(text).toContain('# /etc/systemd/system/hostmaster-backup.service\n# Made by lifeboat install');
    expect(text).toContain('DB_PASSWORD="(not shown)"');
    expect(text).not.toMatch(/hooks\.slack|p\\"a/);
    expect(readdirSync(root)).toEqual([]);
  });

  it('removes exactly what it made; settings only with --purge', async () => {
    mkdirSync(at('/etc/systemd/system'), { recursive: true });
    writeFileSync(at('/etc/systemd/system/other.service'), 'mine');
    await run(SYSTEMD);
    const first = await run({ ...SYSTEMD, action: 'uninstall' });
    expect(readdirSync(at('/etc/systemd/system'))).toEqual(['other.service']);
    expect(stepOn(first, '/etc/lifeboat/hostmaster.env')).toBe('kept');
    expect(existsSync(at('/var/backups/hostmaster'))).toBe(true);
    const second = await run({ ...SYSTEMD, action: 'uninstall', purge: true });
    expect(stepOn(second, '/etc/lifeboat/hostmaster.env')).toBe('removed');
    expect(readdirSync(at('/etc/lifeboat'))).toEqual([]);
    expect(existsSync(at('/var/backups/hostmaster'))).toBe(true);
  });

  it('leaves a unit of the same name alone that it did not make', async () => {
    mkdirSync(at('/etc/systemd/system'), { recursive: true });
    writeFileSync(at('/etc/systemd/system/hostmaster-backup.timer'), 'mine');
    const result = await run({ ...SYSTEMD, action: 'uninstall' });
    expect(stepOn(result, '/etc/systemd/system/hostmaster-backup.timer')).toBe('kept');
    expect(read('/etc/systemd/system/hostmaster-backup.timer')).toBe('mine');
  });
});

describe('lifeboat install --cron', () => {
  it('writes a file for cron.d, settings and a log that the user may write', async () => {
    mkdirSync(at('/etc/cron.d'), { recursive: true });
    await run(CRON, ENVIRONMENT, machine({ zoneIsUtc: true }));
    expect(read('/etc/cron.d/hostmaster-backup')).toContain(`\n0 2 * * * ${ME} `);
    expect(statSync(at('/etc/cron.d/hostmaster-backup')).mode & 0o777).toBe(0o644);
    expect(statSync(at('/etc/lifeboat/hostmaster.env')).mode & 0o777).toBe(0o600);
    expect(statSync(at('/var/log/hostmaster-backup.log')).mode & 0o777).toBe(0o640);
    await run({ ...CRON, action: 'uninstall' });
    expect(readdirSync(at('/etc/cron.d'))).toEqual([]);
    expect(existsSync(at('/var/log/hostmaster-backup.log'))).toBe(true);
  });

  it('uses a name that cron.d reads', async () => {
    mkdirSync(at('/etc/cron.d'), { recursive: true });
    await run(CRON, { ...ENVIRONMENT, APP_NAME: 'shop.eu' });
    expect(readdirSync(at('/etc/cron.d'))).toEqual(['shop_eu-backup']);
    await expect(run(CRON, { ...ENVIRONMENT, APP_NAME: 'shop_eu' })).rejects.toThrow('is there already');
  });

  it('goes by the zone of the host, not by the one of this shell', async () => {
    mkdirSync(at('/etc'), { recursive: true });
    const zones = [
      ['/usr/share/zoneinfo/Etc/UTC', true],
      ['/usr/share/zoneinfo/Europe/London', false],
    ] as const;
    for (const [zone, isUtc] of zones) {
      mkdirSync(dirname(at(zone)), { recursive: true });
      writeFileSync(at(zone), '');
      rmSync(at('/etc/localtime'), { force: true });
      symlinkSync(at(zone), at('/etc/localtime'));
      expect(await machine().facts()).toMatchObject({ zoneIsUtc: isUtc });
    }
  });

  it('refuses a host without cron, and a second schedule beside systemd’s', async () => {
    await expect(run(CRON)).rejects.toThrow('no cron on this host');
    mkdirSync(at('/etc/cron.d'), { recursive: true });
    await run(SYSTEMD);
    await expect(run(CRON)).rejects.toMatchObject({
      message: expect.stringContaining('hostmaster-backup.timer starts the same backup already'),
      hint: 'Run first: lifeboat install --systemd --uninstall',
    });
  });

  describe('for a user without root’s rights', () => {
    const mine = '# mine\n5 4 * * * true\n';

    /** A real `crontab` program with a file for its spool. */
    function user(): { on: Machine; crontab: () => string } {
      const spool = at('/spool');
      mkdirSync(at('/bin'), { recursive: true });
      writeFileSync(
        at('/bin/crontab'),
        `#!/bin/sh\nspool='${spool.replaceAll("'", `'\\''`)}'\ncase $1 in\n-l) if [ -e "$spool" ]; then cat "$spool"; else echo 'no crontab for me' >&2; exit 1; fi ;;\n-) cat > "$spool" ;;\nesac\n`,
      );
      chmodSync(at('/bin/crontab'), 0o755);
      const account = { name: ME, uid: userInfo().uid, gid: userInfo().gid, home: '/home/me' };
      const on = machine({ system: false, user: account }, { PATH: `${at('/bin')}:/usr/bin:/bin` });
      return { on, crontab: () => readFileSync(spool, 'utf8') };
    }

    it('adds marked lines to the user’s own crontab and takes exactly them away again', async () => {
      const { on, crontab } = user();
      writeFileSync(at('/spool'), mine);
      const options: InstallOptions = { scheduler: 'cron', action: 'install', force: false, purge: false };
      await run(options, ENVIRONMENT, on);
      expect(crontab()).toContain(`${mine}# lifeboat install: begin hostmaster\n`);
      expect(crontab()).toContain('. /home/me/.config/lifeboat/hostmaster.env;');
      expect(statSync(at('/home/me/.config/lifeboat/hostmaster.env')).mode & 0o777).toBe(0o600);
      expect(stepOn(await run(options, ENVIRONMENT, on), 'crontab')).toBe('unchanged');
      await run({ ...options, action: 'uninstall' }, ENVIRONMENT, on);
      expect(crontab()).toBe(mine);
    });

    it('starts a crontab where there is none', async () => {
      const { on, crontab } = user();
      await run({ ...CRON, user: ME }, ENVIRONMENT, on);
      expect(crontab()).toMatch(/^# lifeboat install: begin hostmaster\n/);
    });

    it('passes on what crontab says when it refuses', async () => {
      const { on } = user();
      writeFileSync(
        at('/bin/crontab'),
        '#!/bin/sh\necho "you are not allowed to use this program" >&2\nexit 1\n',
      );
      await expect(run(CRON, ENVIRONMENT, on)).rejects.toMatchObject({
        code: 'INSTALL_FAILED',
        message: 'crontab -l ended with status 1: you are not allowed to use this program',
      });
    });

    it('runs as the user alone', async () => {
      await expect(run({ ...CRON, user: 'root-of-all' }, ENVIRONMENT, user().on)).rejects.toThrow(
        'Only root may',
      );
    });
  });

  it('writes a line that really runs the backup with its settings', async () => {
    mkdirSync(at('/etc/cron.d'), { recursive: true });
    const program = writeProgram(NASTY);
    writeFileSync(program, '#!/bin/sh\necho "$1 of $DB_NAME with $DB_PASSWORD"\n', { mode: 0o755 });
    await run(CRON, ENVIRONMENT, machine({ zoneIsUtc: true, backupCommand: [program, 'backup'] }));
    const line = read('/etc/cron.d/hostmaster-backup').trimEnd().split('\n').at(-1)!;
    const shellRoot = root.replaceAll("'", `'\\''`);
    const command = line
      .slice(`0 2 * * * ${ME} `.length)
      .replaceAll('\\%', '%')
      .replace('/var/log', `'${shellRoot}'/var/log`)
      .replace('/etc/lifeboat', `'${shellRoot}'/etc/lifeboat`);
    await promisify(execFile)('/bin/sh', ['-c', command], { env: { PATH: '/usr/bin:/bin' } });
    expect(read('/var/log/hostmaster-backup.log')).toBe('backup of hostmaster_prod with p"a$s\n');
  });
});

describe('what a scheduler is told to start', () => {
  it('is the checkout’s own script', async () => {
    const [program] = await findBackupCommand({});
    expect(program).toBe(join(__dirname, '../../../scripts/backup-db.sh'));
    expect(existsSync(program!)).toBe(true);
  });

  it('is the bundle’s launcher, by the name it was called by when that leads to it', async () => {
    const here = at('/v1/bundle');
    mkdirSync(here, { recursive: true });
    mkdirSync(at('/v1/bin'));
    writeFileSync(at('/v1/bin/lifeboat'), '');
    symlinkSync(at('/v1'), at('/current'));
    const called = at('/current/bin/lifeboat');
    expect(await findBackupCommand({ LIFEBOAT_LAUNCHER: called }, here)).toEqual([called, 'backup']);
    expect(await findBackupCommand({ LIFEBOAT_LAUNCHER: '/bin/sh' }, here)).toEqual([
      at('/v1/bin/lifeboat'),
      'backup',
    ]);
    expect(await findBackupCommand({}, here)).toEqual([at('/v1/bin/lifeboat'), 'backup']);
  });
});
