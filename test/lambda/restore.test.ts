import { decodeRequest } from '../../lib/domain/run/request.ts';
import { CONFIG, HOST, startStage, statusEvent, type Stage } from './stage.ts';

const STAGING = { action: 'plan', source: 'latest', database: 'hostmaster_staging' };
const OVER = { action: 'plan', source: 'latest', database: 'hostmaster_prod', replace: true };
const NEWEST = 'hostmaster_db_20260116_020000';

let stage: Stage;
afterEach(async () => stage.close());

interface Planned {
  readonly planId: string;
  readonly confirm: string;
  readonly [field: string]: unknown;
}

async function plan(payload: object): Promise<Planned> {
  return (await stage.restore(payload)) as unknown as Planned;
}

function sentRequest(index = 0) {
  return decodeRequest(stage.ssm.commands[index]!.parameters['Request']![0]!);
}

describe('the restore function', () => {
  beforeEach(async () => {
    stage = await startStage();
    await stage.putBackup('hostmaster_db_20260115_020000');
    await stage.putBackup(NEWEST, { bytes: 2000 });
  });

  it('lists what there is, newest first, with its state', async () => {
    await stage.putBackup('hostmaster_db_20260114_020000', { without: ['dump'] });
    await stage.putBackup('hostmaster_db_20260113_020000', { without: ['manifest', 'globals'] });
    await stage.putBackup('hostmaster_db_20260112_020000', { without: ['manifest'] });
    const answer = await stage.restore({ action: 'list' });
    expect(answer).toMatchObject({
      app: 'hostmaster',
      instanceId: HOST,
      backups: [
        {
          id: NEWEST,
          state: 'complete',
          size: '2.0K',
          bytes: 2000,
          database: 'hostmaster_prod',
          tables: 2,
          rows: 346_678,
          url: `s3://backups/database/${NEWEST}.sql.gz`,
        },
        { id: 'hostmaster_db_20260115_020000', state: 'complete' },
        {
          id: 'hostmaster_db_20260114_020000',
          state: 'damaged',
          detail: expect.stringContaining('is missing'),
        },
        { id: 'hostmaster_db_20260113_020000', state: 'without manifest', tables: null },
      ],
      bases: [],
      window: [],
      recovery: [],
    });
    expect(stage.ssm.calls).toEqual([]);
  });

  it('plans first: says what will happen, how large it is and what to send back, and starts nothing', async () => {
    const answer = await plan(STAGING);
    expect(answer).toMatchObject({
      expiresAt: '2026-01-17T03:00:05.000Z',
      app: 'hostmaster',
      instanceId: HOST,
      database: 'hostmaster_staging',
      replace: false,
      backup: {
        id: NEWEST,
        database: 'hostmaster_prod',
        bytes: 2000,
        rawBytes: 40_000_000,
        tables: 2,
        rows: 346_678,
      },
      confirm: `restore ${NEWEST} into hostmaster_staging on ${HOST}`,
      warnings: [],
    });
    expect(answer['steps']).toEqual([
      `On ${HOST}, as postgres: lifeboat restore ${NEWEST} --to-database hostmaster_staging`,
      `Download s3://backups/database/${NEWEST}.sql.gz (2.0K) and check its size and SHA-256`,
      'Restore 39M of SQL beside hostmaster_staging, into a database of its own',
      'Count 346,678 rows of 2 tables and compare them with the backup’s',
      'Rename it to hostmaster_staging; if a hostmaster_staging with data in it is there, the run is refused and touches nothing',
    ]);
    expect(stage.ssm.calls).toEqual([]);
  });

  it('executes the plan, with the restore document, as it was planned', async () => {
    const { planId, confirm } = await plan({ ...STAGING, globals: true });
    // Latest is another by now.
    await stage.putBackup('hostmaster_db_20260117_010000');
    stage.passMinutes(30);
    const answer = await stage.restore({ action: 'execute', planId, confirm });
    const [command] = stage.ssm.commands;
    expect(answer).toMatchObject({ commandId: command!.id, startedBefore: false });
    expect(command).toMatchObject({ document: 'Restore', instanceId: HOST });
    expect(sentRequest()).toMatchObject({
      operation: 'restore',
      trigger: 'manual',
      restore: { source: NEWEST, database: 'hostmaster_staging', replace: false, globals: true },
    });
  });

  it('executes a plan once, however often it is asked, and finishes what died halfway', async () => {
    const { planId, confirm } = await plan(STAGING);
    const execute = { action: 'execute', planId, confirm };
    const down = { status: 500, name: 'InternalServerError' };
    stage.ssm.faults.set('SendCommand', [down, down, down, down]);
    await expect(stage.restore(execute)).rejects.toMatchObject({ code: 'SSM_FAILED' });
    stage.passMinutes(90);
    const first = await stage.restore(execute);
    const again = await stage.restore(execute);
    expect(first).toMatchObject({ startedBefore: false });
    expect(again).toMatchObject({
      ...first,
      startedBefore: true,
      next: expect.stringContaining('nothing was started now'),
    });
    expect(stage.ssm.commands).toHaveLength(1);
  });

  it('refuses a plan that is an hour old', async () => {
    const { planId, confirm } = await plan(STAGING);
    stage.passMinutes(60);
    await expect(stage.restore({ action: 'execute', planId, confirm })).rejects.toThrow(
      /expired at 2026-01-17 03:00:05 UTC\nPlan the restore again/,
    );
    expect(stage.ssm.commands).toEqual([]);
  });

  it.each([
    [{ confirm: 'yes' }, /confirm is not the plan’s text\nRead the plan, then send "confirm":"restore/],
    [{}, /the plan replaces "hostmaster_prod"\nSend "replace":true and type the database’s name again/],
    [{ replace: true }, /type the database’s name again, as in "database":"hostmaster_prod"/],
    [{ database: 'hostmaster_prod' }, /the plan replaces "hostmaster_prod"/],
    [
      { replace: true, database: 'hostmaster' },
      /database is "hostmaster", and the plan restores into "hostmaster_prod"/,
    ],
  ])('does not restore over a database for %j', async (change, problem) => {
    const { planId, confirm } = await plan(OVER);
    await expect(stage.restore({ action: 'execute', planId, confirm, ...change })).rejects.toThrow(problem);
    expect(stage.ssm.commands).toEqual([]);
  });

  it('restores over a database when that was planned and its name is typed again', async () => {
    const made = await plan(OVER);
    expect(made['warnings']).toEqual([expect.stringContaining('Stop what writes to hostmaster_prod first')]);
    const { planId, confirm } = made;
    await stage.restore({ action: 'execute', planId, confirm, replace: true, database: 'hostmaster_prod' });
    expect(sentRequest().restore).toEqual({
      source: NEWEST,
      database: 'hostmaster_prod',
      replace: true,
      globals: false,
    });
  });

  it('refuses replace for a plan without it', async () => {
    const { planId, confirm } = await plan(STAGING);
    await expect(stage.restore({ action: 'execute', planId, confirm, replace: true })).rejects.toThrow(
      /the plan replaces nothing\nPlan it again with "replace":true/,
    );
  });

  it('takes no backup from the future for the latest, and none while a newer one is damaged', async () => {
    await stage.putBackup('hostmaster_db_20990101_000000');
    expect((await plan(STAGING))['backup']).toMatchObject({ id: NEWEST });
    await stage.putBackup('hostmaster_db_20260117_010000', { without: ['dump'] });
    await expect(stage.restore(STAGING)).rejects.toThrow(
      /The newest backup, hostmaster_db_20260117_010000, cannot be used: .* is missing[^]*"source":"hostmaster_db_20260116_020000"/,
    );
  });

  it('restores by id and by URL, also another series’ and a dump of the user’s own, with what is to be known of them', async () => {
    await stage.putBackup('billing_db_20260116_020000');
    const files = { manifest: `s3://backups/database/${NEWEST}.manifest.json` };
    expect((await plan({ ...STAGING, source: 'hostmaster_db_20260115_020000' }))['backup']).toMatchObject({
      id: 'hostmaster_db_20260115_020000',
    });
    expect((await plan({ ...STAGING, source: files.manifest }))['backup']).toMatchObject({ id: NEWEST });
    const other = await plan({
      ...STAGING,
      source: 's3://backups/database/billing_db_20260116_020000.sql.gz',
    });
    expect(other['warnings']).toEqual([
      'billing_db_20260116_020000 is a backup of billing, not of hostmaster',
    ]);
    await stage.putBackup('x_db_20260101_000000', { without: ['manifest', 'globals'] });
    const old = await plan({ ...STAGING, source: 's3://backups/database/x_db_20260101_000000.sql.gz' });
    expect(old['warnings']).toEqual([expect.stringContaining('has no manifest')]);
    expect(old['backup']).toMatchObject({ bytes: 1000, rawBytes: null, rows: null });
  });

  it('warns of a plan for the series’ own database without replace', async () => {
    const { warnings } = await plan({ ...STAGING, database: 'hostmaster_prod' });
    expect(warnings).toEqual([expect.stringContaining('only "replace":true restores over it')]);
  });

  it('leads to one message of a restore', async () => {
    const { planId, confirm } = await plan(STAGING);
    const answer = (await stage.restore({ action: 'execute', planId, confirm })) as {
      runId: string;
      commandId: string;
    };
    await stage.putResult(answer.runId, {
      operation: 'restore',
      outcome: {
        kind: 'restore',
        source: NEWEST,
        database: 'hostmaster_staging',
        checked: { tables: 2, rows: 346_678 },
        keptAs: null,
      },
    });
    Object.assign(stage.ssm.commands[0]!, { statusDetails: 'Success' });
    await stage.reportRun(statusEvent(answer.commandId, 'Success'));
    expect(stage.published[0]!.text).toMatch(
      /^🔄 HostMaster DB Restore SUCCESS\n✅ Restore completed successfully\n[^]*Checked: 2 tables, 346,678 rows/,
    );
    expect(stage.metrics()).toEqual([
      { RunFailed: 0, RunSucceeded: 1, HostUnreachable: 0, RestoreDurationSeconds: 45 },
    ]);
  });

  it.each([
    [undefined, /action|object/],
    [{ action: 'drop' }, /action/],
    [{ action: 'plan' }, /source: .*\n.*database: /],
    [{ ...STAGING, source: '' }, /source/],
    [{ ...STAGING, source: '/etc/passwd' }, /is a file of a host/],
    [{ ...STAGING, source: '../../etc/x.sql.gz' }, /is a file of a host/],
    [{ ...STAGING, source: 'nonsense' }, /Cannot tell what to restore from "nonsense"/],
    [
      { ...STAGING, source: 's3://elsewhere/database/x.sql.gz' },
      /lies outside of s3:\/\/backups\/database\//,
    ],
    [{ ...STAGING, source: 's3://backups/other/x.sql.gz' }, /lies outside/],
    [{ ...STAGING, source: 's3://backups/database/../x.sql.gz' }, /lies outside/],
    [{ ...STAGING, source: 's3://backups/database/gone.sql.gz' }, /There is no object[^]*{"action":"list"}/],
    [
      { ...STAGING, source: 'hostmaster_db_20250101_000000' },
      /There is no backup hostmaster_db_20250101_000000 in S3[^]*{"action":"list"}/,
    ],
    [{ ...STAGING, source: 'billing_db_20250101_000000' }, /There is no series "billing"/],
    [{ ...STAGING, source: 'latest\nrm' }, /control characters/],
    [{ ...STAGING, database: '' }, /database/],
    [{ ...STAGING, database: 'template1' }, /new databases are made from it/],
    [{ ...STAGING, database: 'x'.repeat(64) }, /it has 64 bytes/],
    [{ ...STAGING, replace: 'yes' }, /replace/],
    [{ ...STAGING, app: 'other' }, /There is no series "other"; this deployment has hostmaster/],
    [
      { ...STAGING, instanceId: 'i-00000000000000000' },
      /lives on i-0123456789abcdef0, not on i-00000000000000000/,
    ],
    [{ ...STAGING, force: true }, /force/],
    [{ action: 'execute', planId: '../runs/x', confirm: 'x' }, /planId: is no plan’s id/],
    [
      { action: 'execute', planId: 'plan-20260117T020000Z-0123456789abcdef', confirm: 'x' },
      /There is no plan plan-2026/,
    ],
  ])('refuses %j and says why', async (payload, problem) => {
    const error = await stage.restore(payload, stage.context()).then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    expect(error?.message).toMatch(problem);
    expect((error as unknown as { code: string }).code).not.toBe('BUG');
    expect(stage.ssm.calls).toEqual([]);
  });

  it.each(['$(id)', '"; DROP DATABASE x; --', "'`id`'", '{{x}}', 'ü€😀'])(
    'carries the database %s to the host in base64url alone',
    async (database) => {
      const { planId, confirm } = await plan({ ...STAGING, database });
      await stage.restore({ action: 'execute', planId, confirm });
      expect(stage.ssm.commands[0]!.parameters['Request']![0]).toMatch(/^[A-Za-z0-9_-]+$/);
      expect(sentRequest().restore?.database).toBe(database);
    },
  );
});

describe('the restore function of several series', () => {
  beforeEach(async () => {
    stage = await startStage({
      series: [
        ...CONFIG.series,
        { app: 'shop', database: 'shop', host: { tag: { key: 'Role', value: 'db' } } },
      ],
    });
  });

  it('asks which series and which host are meant, naming them', async () => {
    await expect(stage.restore({ action: 'list' })).rejects.toThrow(
      /There are several series; this deployment has hostmaster, shop\nAdd one of them/,
    );
    await stage.putBackup('shop_db_20260117_010000', { prefix: 'database/i-00000000000000001' });
    await expect(stage.restore({ action: 'list', app: 'shop' })).rejects.toThrow(
      /chosen by tag: say which one is meant\nAdd "instanceId"; there are backups of i-00000000000000001/,
    );
  });

  it('restores on the host that was named, from its own folder', async () => {
    const instanceId = 'i-00000000000000001';
    await stage.putBackup('shop_db_20260117_010000', { prefix: `database/${instanceId}` });
    const { planId, confirm } = await plan({ ...STAGING, app: 'shop', instanceId });
    await stage.restore({ action: 'execute', planId, confirm });
    expect(stage.ssm.commands[0]).toMatchObject({ instanceId });
    expect(sentRequest()).toMatchObject({
      series: { app: 'shop' },
      storage: { prefix: `database/${instanceId}` },
    });
  });

  it('says at once that it may command no host of that name, and the message follows in minutes', async () => {
    const instanceId = 'i-0000000000000000f';
    await stage.putBackup('shop_db_20260117_010000', { prefix: `database/${instanceId}` });
    const { planId, confirm } = await plan({ ...STAGING, app: 'shop', instanceId });
    const denied = { status: 400, name: 'AccessDeniedException' };
    stage.ssm.faults.set('SendCommand', [denied, denied, denied, denied]);
    const execute = { action: 'execute', planId, confirm };
    for (let times = 0; times < 2; times += 1)
      await expect(stage.restore(execute)).rejects.toMatchObject({
        code: 'SSM_FAILED',
        message: expect.stringMatching(
          /takes no command for i-0000000000000000f[^]*with the tag of its series\?/,
        ),
      });
    stage.passMinutes(5);
    await stage.watch();
    expect(stage.published).toHaveLength(1);
    expect(stage.published[0]!.text).toMatch(
      /Restore FAILED[^]*Safe: hostmaster_staging is as it was before/,
    );
  });
});
