import { statSync } from 'node:fs';
import { DATABASE, INSTANCE_ID, IS_ROOT, OS_UID, RunHost, useRunGround } from './run-fixture.ts';

type Operation = ReturnType<RunHost['request']>['operation'];

const ground = useRunGround();

describe('A backup that a request asks for', () => {
  it('is made as the series’ user, lies in both places, and has its result in the state bucket', async () => {
    const host = await RunHost.make(ground());
    const request = host.request();
    const end = await host.run(request, { args: ['--only', 'backup'] });
    expect(end).toMatchObject({ status: 0, verdict: { runId: request.runId, succeeded: true, code: null } });
    const result = await host.result(request.runId);
    expect(result).toMatchObject({
      operation: 'backup',
      app: 'hostmaster',
      database: DATABASE,
      instanceId: INSTANCE_ID,
      commandId: 'c0ffee00-0000-4000-8000-000000000001',
      warnings: [],
      outcome: { kind: 'backup', totals: { tables: 1, rows: 1000 } },
      failure: null,
      exitStatus: 0,
    });
    const id = result.outcome?.kind === 'backup' ? result.outcome.id : '';
    expect(end.verdict?.message).toBe(id);
    const names = ['.globals.sql.gz', '.manifest.json', '.sql.gz'].map((suffix) => id + suffix);
    expect(host.files().toSorted()).toEqual(names);
    expect(await host.keys(host.bucket)).toEqual(names.map((name) => `database/${name}`));
    expect(statSync(host.backupDir)).toMatchObject({ uid: OS_UID, mode: 0o40700 });
    expect(end.leftRunning).toEqual([]);
  });
});

describe('The kind of a backup', () => {
  it('base: is the whole cluster, with what can be restored from it', async () => {
    const host = await RunHost.make(ground());
    const request = host.request({ kind: 'base' });
    const end = await host.run(request, { args: ['--only', 'backup'] });
    expect(end).toMatchObject({ status: 0, verdict: { succeeded: true } });
    const { outcome } = await host.result(request.runId);
    expect(outcome).toMatchObject({
      kind: 'base',
      label: end.verdict?.message,
      type: 'full',
      parent: null,
      location: expect.stringContaining(`s3://${host.bucket}/database/pitr/hostmaster/`),
      restorable: { earliest: expect.any(String), latest: expect.any(String), holes: 0 },
    });
    expect(await host.keys(host.bucket)).toContainEqual(
      expect.stringContaining(`${end.verdict?.message}/manifest.json`),
    );
  });

  it('both: is a dump and a base backup in one run, with the facts of each', async () => {
    const host = await RunHost.make(ground());
    const request = host.request({ kind: 'both' });
    const end = await host.run(request);
    expect(end.status).toBe(0);
    const { outcome, failure } = await host.result(request.runId);
    expect(failure).toBeNull();
    if (outcome?.kind !== 'both') throw new Error(end.printed);
    expect(outcome.dump).toMatchObject({ totals: { tables: 1, rows: 1000 } });
    expect(outcome.base).toMatchObject({ type: 'full' });
    expect(end.verdict?.message).toBe(`${outcome.dump?.id}, ${outcome.base?.label}`);
  });

  it('both: is a failure that says which half stands when the other fails', async () => {
    const host = await RunHost.make(ground());
    const request = host.request({ kind: 'both', series: { pgBinDir: '/nowhere' } });
    const end = await host.run(request);
    expect(end).toMatchObject({ status: 3, verdict: { succeeded: false, code: 'CLIENT_MISSING' } });
    const { outcome, failure } = await host.result(request.runId);
    expect(outcome).toMatchObject({ kind: 'both', dump: null, base: { type: 'full' } });
    const label = outcome?.kind === 'both' ? outcome.base?.label : undefined;
    expect(failure?.message).toContain(`The dump failed, the base backup ${label} stands: `);
  });
});

if (IS_ROOT) {
  describe('Started by root on a host that never ran it', () => {
    const mounts = ['/var/backups', '/var/lib'].map((folder) => `mount -t tmpfs -o mode=755 tmpfs ${folder}`);
    const show = `"$@"; status=$?; ls -lnA /var/backups /var/backups/hostmaster /var/lib/lifeboat /var/lib/lifeboat/runs >&2; exit $status`;
    const through = ['unshare', '--mount', 'sh', '-c', `${mounts.join(' && ')} || exit 99; ${show}`, 'sh'];

    it('makes the series’ folder, gives it to its user, and keeps its own memory to itself', async () => {
      const host = await RunHost.make(ground());
      const request = host.request({ series: { backupDir: undefined } });
      const end = await host.run(request, { through, env: { STATE_DIRECTORY: undefined } });
      expect(end.status).toBe(0);
      expect(end.printed).toMatch(new RegExp(`^drwx------ 2 ${OS_UID} \\d+ .* hostmaster$`, 'm'));
      expect(end.printed).toMatch(
        new RegExp(`^-rw------- 1 ${OS_UID} .* hostmaster_db_\\w+\\.sql\\.gz$`, 'm'),
      );
      expect(end.printed).toMatch(/^drwx------ 2 0 0 .* runs$/m);
      expect(end.printed).toMatch(new RegExp(`^-rw------- 1 0 0 .* ${request.runId}$`, 'm'));
    });

    it('gives nothing away: a folder that is there stays whose it is', async () => {
      const host = await RunHost.make(ground());
      const request = host.request({ series: { backupDir: undefined } });
      const made = ['sh', '-c', 'mkdir -m 700 /var/backups/hostmaster && exec "$@"', 'sh'];
      const end = await host.run(request, {
        through: [...through, ...made],
        env: { STATE_DIRECTORY: undefined },
      });
      expect(end).toMatchObject({ status: 6, verdict: { code: 'DISK_FAILED' } });
      expect(end.printed).toMatch(/^drwx------ 2 0 0 .* hostmaster$/m);
    });
  });
}

/** A host with one backup. */
async function hostWithBackup(): Promise<{ host: RunHost; id: string }> {
  const host = await RunHost.make(ground());
  const end = await host.run(host.request());
  if (end.status !== 0) throw new Error(end.printed);
  return { host, id: end.verdict!.message };
}

describe('What else a request asks for', () => {
  it.each<[Operation, RegExp]>([
    ['verify', /2 of 2 copies good/],
    ['status', /Last good backup/],
    ['list', /VERIFIED/],
    ['retention', /stays/],
  ])('%s: is answered with lines and JSON in the result', async (operation, line) => {
    const { host, id } = await hostWithBackup();
    const request = host.request({ operation });
    const end = await host.run(request, { args: ['--only', 'backup'] });
    expect(end).toMatchObject({ status: 0, verdict: { succeeded: true, message: 'done' } });
    const { outcome } = await host.result(request.runId);
    expect(outcome).toMatchObject({ kind: 'report', json: { operation, succeeded: true } });
    expect(outcome?.kind === 'report' && outcome.lines.join('\n')).toMatch(line);
    expect(JSON.stringify(outcome)).toContain(id);
    expect(end.stdout).toMatch(line);
  });

  it('verify: takes one backup when it is named, and fails when there is none of the name', async () => {
    const { host, id } = await hostWithBackup();
    await host.run(host.request());
    const one = host.request({ operation: 'verify', backupId: id });
    expect((await host.run(one)).status).toBe(0);
    const { outcome } = await host.result(one.runId);
    expect(outcome).toMatchObject({ json: { copies: [{ id }, { id }] } });
    const other = host.request({ operation: 'verify', backupId: 'hostmaster_db_20200101_020000' });
    expect(await host.run(other)).toMatchObject({ status: 3, verdict: { code: 'BACKUP_NOT_FOUND' } });
    expect(await host.result(other.runId)).toMatchObject({ outcome: null, exitStatus: 3 });
  });

  it('status: without a backup is a failure that tells its lines all the same', async () => {
    const host = await RunHost.make(ground());
    const request = host.request({ operation: 'status' });
    expect(await host.run(request)).toMatchObject({ status: 9, verdict: { code: 'ATTENTION' } });
    expect(await host.result(request.runId)).toMatchObject({
      outcome: { kind: 'report' },
      failure: { code: 'ATTENTION' },
      exitStatus: 9,
    });
  });
});

describe('A restore that a request asks for', () => {
  const rowsOf = async (database: string): Promise<string> =>
    await ground().postgres.psql(database, 'SELECT count(*) FROM users');

  it('fills a database that was not there, from latest, an id or a URL', async () => {
    const { host, id } = await hostWithBackup();
    const url = `s3://${host.bucket}/database/${id}.sql.gz`;
    for (const [index, source] of ['latest', id, url].entries()) {
      const database = `staging_${index}_${process.pid}`;
      const request = host.request({ operation: 'restore', restore: { source, database } });
      const end = await host.run(request, { args: ['--only', 'restore'] });
      expect(end).toMatchObject({ status: 0, verdict: { succeeded: true } });
      expect(await rowsOf(database)).toBe('1000');
      expect(await host.result(request.runId)).toMatchObject({
        operation: 'restore',
        database,
        outcome: { kind: 'restore', database, checked: { tables: 1, rows: 1000 }, keptAs: null },
      });
    }
  });

  it('takes the place of a database with data only when told to, and keeps that one', async () => {
    const { host, id } = await hostWithBackup();
    const database = `filled_${process.pid}`;
    await ground().postgres.createDatabase(database);
    await ground().postgres.psql(database, 'CREATE TABLE mine AS SELECT 1');
    const timid = host.request({ operation: 'restore', restore: { source: id, database } });
    expect(await host.run(timid)).toMatchObject({ status: 3, verdict: { code: 'TARGET_NOT_EMPTY' } });
    expect(await host.result(timid.runId)).toMatchObject({ outcome: null, targetUntouched: true });
    const bold = host.request({ operation: 'restore', restore: { source: id, database, replace: true } });
    expect((await host.run(bold)).status).toBe(0);
    const { outcome } = await host.result(bold.runId);
    const keptAs = outcome?.kind === 'restore' ? outcome.keptAs! : '';
    expect(await ground().postgres.psql(keptAs, 'SELECT count(*) FROM mine')).toBe('1');
    expect(await rowsOf(database)).toBe('1000');
  });

  it('never takes a file of the host', async () => {
    const { host, id } = await hostWithBackup();
    const source = `${host.backupDir}/${id}.sql.gz`;
    const request = host.request({ operation: 'restore', restore: { source } });
    expect(await host.run(request)).toMatchObject({ status: 2, verdict: { code: 'USAGE' } });
    expect(await host.result(request.runId)).toMatchObject({ targetUntouched: true });
  });
});
