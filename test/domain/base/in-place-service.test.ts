import {
  commandsOf,
  decideService,
  parseCommand,
  type ServiceFacts,
} from '../../../lib/domain/base/in-place-service.ts';

const MAIN = '/var/lib/postgresql/15/main';
const RHEL = '/var/lib/pgsql/15/data';

function facts(overrides: Partial<ServiceFacts> = {}): ServiceFacts {
  return {
    dataDir: MAIN,
    postmaster: 4711,
    serverOptions: '',
    programs: '/usr/lib/postgresql/15/bin',
    debian: undefined,
    units: [],
    configFile: undefined,
    commands: undefined,
    ...overrides,
  };
}

const debian = (...clusters: { version: string; cluster: string; dataDir: string }[]) => ({
  configurationRoot: '/etc/postgresql',
  clusters,
});

describe('The service of a data directory', () => {
  it('is Debian’s cluster that has it, although systemd’s unit of it runs too', () => {
    const unit = { unit: 'postgresql@15-main.service', dataDir: undefined, mainPid: 4711 };
    const service = decideService(
      facts({
        debian: debian(
          { version: '14', cluster: 'main', dataDir: '/var/lib/postgresql/14/main' },
          { version: '15', cluster: 'main', dataDir: MAIN },
        ),
        units: [unit],
      }),
    );
    expect(service).toEqual({ kind: 'debian', version: '15', cluster: 'main' });
    expect(commandsOf(service, MAIN, '/log')).toEqual({
      stop: ['pg_ctlcluster', '15', 'main', 'stop', '-m', 'fast'],
      start: ['pg_ctlcluster', '15', 'main', 'start'],
      asOwner: false,
    });
  });

  it('is Debian’s cluster of the backup on a new host that has none of that name', () => {
    const configFile = '/etc/postgresql/15/prod/postgresql.conf';
    const none = facts({ debian: debian(), configFile, postmaster: undefined });
    expect(decideService(none)).toEqual({ kind: 'debian', version: '15', cluster: 'prod' });
    // One of that name that has another data directory is another one.
    const other = { version: '15', cluster: 'prod', dataDir: '/srv/prod' };
    expect(decideService({ ...none, debian: debian(other) }).kind).toBe('pg_ctl');
    for (const strange of [
      '/etc/postgresql/postgresql.conf',
      '/srv/data/postgresql.conf',
      '/etc/postgresql/15/a b/postgresql.conf',
    ]) {
      expect(decideService({ ...none, configFile: strange }).kind).toBe('pg_ctl');
    }
  });

  it('is the unit whose process it is, whatever its name', () => {
    const units = [
      { unit: 'postgresql.service', dataDir: RHEL, mainPid: 0 },
      { unit: 'billing-db.service', dataDir: undefined, mainPid: 4711 },
    ];
    const service = decideService(facts({ dataDir: RHEL, units }));
    expect(service).toEqual({ kind: 'systemd', unit: 'billing-db.service' });
    expect(commandsOf(service, RHEL, '/log').start).toEqual(['systemctl', 'start', 'billing-db.service']);
  });

  it('is the unit with that PGDATA where nothing runs, and not where something else does', () => {
    const units = [{ unit: 'postgresql-15.service', dataDir: RHEL, mainPid: 0 }];
    const stopped = facts({ dataDir: RHEL, units, postmaster: undefined });
    expect(decideService(stopped)).toEqual({ kind: 'systemd', unit: 'postgresql-15.service' });
    expect(decideService({ ...stopped, postmaster: 99 }).kind).toBe('pg_ctl');
  });

  it('is pg_ctl otherwise, with the options that the server was started with', () => {
    const service = decideService(facts({ serverOptions: '"-p" "5433"' }));
    expect(commandsOf(service, '/data', '/log').start).toEqual([
      '/usr/lib/postgresql/15/bin/pg_ctl',
      '-D',
      '/data',
      '-w',
      '-t',
      '86400',
      '-l',
      '/log',
      '-o',
      '"-p" "5433"',
      'start',
    ]);
  });

  it('is what the operator says, above all', () => {
    const commands = { stop: ['sv', 'stop', 'pg'], start: ['sv', 'start', 'pg'] };
    const known = debian({ version: '15', cluster: 'main', dataDir: MAIN });
    const service = decideService(facts({ debian: known, commands }));
    expect(commandsOf(service, MAIN, '/log')).toEqual({ ...commands, asOwner: false });
  });
});

describe('A command that was typed', () => {
  it('is words, or a JSON array where one holds a space', () => {
    expect(parseCommand('--stop-command', ' sv  stop postgres ')).toEqual(['sv', 'stop', 'postgres']);
    expect(parseCommand('--stop-command', '["pg_ctl", "-D", "/my data"]')).toEqual([
      'pg_ctl',
      '-D',
      '/my data',
    ]);
  });

  it('is refused when it is empty or no array of words', () => {
    for (const text of ['', '  ', '[]', '[1]', '["a"', '[""]'])
      expect(() => parseCommand('--stop-command', text)).toThrow(/--stop-command .* is no command/);
  });
});
