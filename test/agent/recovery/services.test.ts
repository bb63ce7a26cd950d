import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { decideService, type Service } from '../../../lib/domain/base/in-place-service.ts';
import { findPostmaster } from '../../../scripts/agent/recovery/postmaster.ts';
import { openServices } from '../../../scripts/agent/recovery/services.ts';
import { serverUser } from '../../../scripts/set-up/postgres-installation.ts';
import { usePostgres, type PostgresServer } from '../../postgres-server.ts';
import { eventually } from '../replication/fixture.ts';
import { writeSystemctl } from './systemctl-stand-in.ts';

const MAJOR = { folder: '/usr/pgsql-15/bin', versionNumber: 150018, canCombine: false };

describe('The service of a server', () => {
  const postgres = usePostgres({ settings: { fsync: 'off' } });
  let tools = '';

  beforeAll(() => {
    tools = mkdtempSync(path.join(path.dirname(postgres().dataDir), 'rhel-'));
    const user = serverUser();
    if (user) chownSync(tools, user.uid, user.gid);
  });

  afterEach(async () => await handBack(postgres()));

  const environment = (): Record<string, string> => ({ PATH: `${tools}:${process.env['PATH']}` });
  async function decide(): Promise<Service> {
    const { dataDir } = postgres();
    const found = await openServices(environment()).survey(dataDir, MAJOR);
    return decideService({ ...found, configFile: undefined, commands: undefined });
  }

  it('is found, stopped and started where systemd keeps it, as on RHEL and Amazon Linux', async () => {
    const { dataDir, binDir } = postgres();
    const unit = { name: 'postgresql-15.service', dataDir, binDir };
    writeSystemctl(tools, { ...unit, user: serverUser() && 'postgres' });
    const service = await decide();
    expect(service).toEqual({ kind: 'systemd', unit: 'postgresql-15.service' });
    const services = openServices(environment());
    await services.stop(service, dataDir);
    expect(await services.postmaster(dataDir)).toBeUndefined();
    expect(await decide()).toEqual(service);
    await services.start(service, dataDir);
    expect(await postgres().psql('postgres', 'SELECT 1')).toBe('1');
    const log = readFileSync(path.join(tools, 'systemctl.log'), 'utf8');
    expect(log).toMatch(
      /^show --property=Id,LoadState,Environment,MainPID -- postgresql.service postgresql-15.service$/m,
    );
    expect(log).toMatch(/^stop postgresql-15.service$[^]*^start postgresql-15.service$/m);
  });

  it('is nobody’s where systemd does not know it, and pg_ctl does it then, with its options', async () => {
    const { dataDir, binDir } = postgres();
    writeSystemctl(tools, { name: 'postgresql.service', dataDir: '/elsewhere', binDir, user: undefined });
    const options = path.join(dataDir, 'postmaster.opts');
    writeFileSync(options, `${binDir}/postgres "-D" "${dataDir}" "-c" "work_mem=7MB"\n`);
    const service = { ...(await decide()), program: `${binDir}/pg_ctl` } as Service;
    expect(service).toMatchObject({ kind: 'pg_ctl', options: '"-c" "work_mem=7MB"' });
    const services = openServices(environment());
    await services.stop(service, dataDir);
    await services.start(service, dataDir);
    expect(await postgres().psql('postgres', 'SHOW work_mem')).toBe('7MB');
    expect(statSync(`${dataDir}.lifeboat-in-place.log`).mode & 0o777).toBe(0o600);
  });

  it('is not taken at its word: a command that went well without an effect is told', async () => {
    const { dataDir } = postgres();
    const services = openServices(environment());
    const words = (command: string): Service => ({ kind: 'commands', stop: [command], start: [command] });
    const failing = services.stop(words('false'), dataDir);
    await expect(failing).rejects.toMatchObject({
      code: 'SERVICE_FAILED',
      message: 'false ended with status 1',
    });
    const missing = services.stop(words('/no/such/program'), dataDir);
    await expect(missing).rejects.toMatchObject({ message: expect.stringContaining('could not be started') });
    const folder = path.join(tools, 'no-cluster');
    mkdirSync(folder);
    expect(await services.postmaster(folder)).toBeUndefined();
    // What does not run needs no stopping.
    await services.stop(words('false'), folder);
    rmSync(folder, { recursive: true });
  });
});

/** The server that somebody else started is the harness' own again. */
async function handBack(postgres: PostgresServer): Promise<void> {
  const pid = (await findPostmaster(postgres.dataDir))?.pid;
  await postgres.stop();
  if (pid !== undefined && (await findPostmaster(postgres.dataDir))) {
    process.kill(pid, 'SIGINT');
    await eventually(async () => expect(await findPostmaster(postgres.dataDir)).toBeUndefined());
  }
  await postgres.start();
}
