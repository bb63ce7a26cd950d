import { decodeRequest, type RunRequest } from '../../lib/domain/run/request.ts';
import type { RecoveredFacts } from '../../lib/domain/run/result.ts';
import { RecoveryBucket } from './recovery-bucket.ts';
import { CONFIG, HOST, goodResult, startStage, statusEvent, type Stage } from './stage.ts';

let stage: Stage;
let cluster: RecoveryBucket;

/** A base backup at 02:00:05, and a commit each hour after it until 05:00:05. */
beforeEach(async () => {
  stage = await startStage(CONFIG);
  cluster = new RecoveryBucket(stage);
  await cluster.base(3);
  for (const number of [3, 4, 5]) {
    stage.passMinutes(60);
    await cluster.segment(number);
  }
  stage.passMinutes(5);
});
afterEach(async () => stage.close());

interface Planned {
  readonly planId: string;
  readonly confirm: string;
  readonly steps: readonly string[];
  readonly window: readonly string[];
  readonly warnings: readonly string[];
  readonly recovery: {
    readonly base: string;
    readonly timeline: number;
    readonly wal: { readonly first: string; readonly last: string; readonly segments: number };
    readonly bytes: Readonly<Record<string, number>>;
    readonly minutes: number;
  } | null;
  readonly [field: string]: unknown;
}

const plan = async (payload: object): Promise<Planned> =>
  (await stage.restore({ action: 'plan', ...payload })) as unknown as Planned;

const refusal = (payload: object): Promise<unknown> =>
  stage.restore({ action: 'plan', ...payload }).then(
    () => 'planned',
    (error: unknown) => error,
  );

async function execute(payload: object, more: object = {}): Promise<RunRequest> {
  const { planId, confirm } = await plan(payload);
  await stage.restore({ action: 'execute', planId, confirm, ...more });
  return decodeRequest(stage.ssm.commands[0]!.parameters['Request']![0]!);
}

const AT_FOUR = { toTime: '2026-01-17T04:30:00Z' };

describe('The restore function, asked for a point in time', () => {
  it('plans it from S3 alone: base backup, WAL, bytes, minutes, and what may be recovered at all', async () => {
    const planned = await plan(AT_FOUR);
    expect(planned).toMatchObject({
      app: 'hostmaster',
      instanceId: HOST,
      database: 'hostmaster_prod',
      replace: false,
      target: '2026-01-17T04:30:00.000000Z',
      confirm: `recover the cluster of hostmaster to 2026-01-17T04:30:00.000000Z beside it on ${HOST}`,
      recovery: {
        base: 'hostmaster_base_20260117_015005',
        timeline: 1,
        wal: { first: '000000010000000000000003', last: '000000010000000000000005', segments: 3 },
        minutes: 1,
      },
    });
    expect(planned.recovery!.bytes['disk']).toBeGreaterThan(0);
    expect(planned.window).toEqual([
      '2026-01-17T02:00:05.000000Z to 2026-01-17T05:00:05.000000Z, timeline 1',
    ]);
    expect(planned.steps[0]).toBe(
      `On ${HOST}, as postgres: lifeboat restore --to-time 2026-01-17T04:30:00.000000Z`,
    );
    expect(planned.steps.join('\n')).toMatch(/isolated[^]*the live cluster is not touched/);
    expect(stage.ssm.commands).toEqual([]);
  });

  it('refuses what lies outside of the window, and prints the window', async () => {
    for (const toTime of ['2026-01-17T01:00:00Z', '2026-01-17T05:05:00Z']) {
      expect(await refusal({ toTime })).toMatchObject({
        code: 'TARGET_OUTSIDE_WINDOW',
        message: expect.stringContaining('02:00:05.000000Z to 2026-01-17T05:00:05.000000Z, timeline 1'),
      });
    }
  });

  it('leaves a transaction or a name to the host, which reads the WAL, unless a base backup is named', async () => {
    const planned = await plan({ toXid: 4711 });
    expect(planned).toMatchObject({ recovery: null, target: 'transaction 4711' });
    expect(planned['estimate']).toMatch(/not known/);
    const base = 'hostmaster_base_20260117_015005';
    expect(await plan({ toName: 'before the flood', base })).toMatchObject({ recovery: { base } });
  });

  it('gives the host what was planned, pinned to its base backup and timeline', async () => {
    const request = await execute({
      ...AT_FOUR,
      dataDir: '/var/lib/postgresql/then',
      port: 5433,
      end: 'pause',
    });
    expect(request).toMatchObject({
      operation: 'restore',
      restore: {
        source: 'recovery to 2026-01-17T04:30:00.000000Z',
        recovery: {
          ...AT_FOUR,
          base: 'hostmaster_base_20260117_015005',
          timeline: 1,
          dataDir: '/var/lib/postgresql/then',
          port: 5433,
          end: 'pause',
        },
      },
    });
  });

  it('takes the latest as it is when the host begins', async () => {
    const { restore } = await execute({ latest: true });
    expect(restore!.recovery).toEqual({ latest: true });
  });

  it('plans tables and databases into the live server, over what is there only when that is confirmed', async () => {
    const table = await plan({ ...AT_FOUR, table: 'public.invoices', toDatabase: 'staging' });
    expect(table.steps[0]).toContain('--table public.invoices --to-database staging');
    expect(table.confirm).toMatch(/^recover the tables public\.invoices of hostmaster .* into staging on /);
    const database = { ...AT_FOUR, database: 'hostmaster_prod', replace: true };
    await expect(execute(database)).rejects.toMatchObject({ code: 'RESTORE_REFUSED' });
    const { restore } = await execute(database, { replace: true, database: 'hostmaster_prod' });
    expect(restore).toMatchObject({ database: 'hostmaster_prod', replace: true });
  });

  it.each<[object, RegExp]>([
    [{ toTime: '2026-01-17T04:30:00' }, /has no time zone/],
    [{ ...AT_FOUR, toLsn: '0/1' }, /2 recovery targets/],
    [{ ...AT_FOUR, replace: true }, /replace: goes with "database" or "table" only/],
    [{ ...AT_FOUR, table: 'a', end: 'pause' }, /end: goes with a cluster that stays/],
    [{ ...AT_FOUR, dataDir: '/x; rm -r /' }, /dataDir: is no absolute path/],
    [{ ...AT_FOUR, dataDir: '/x/../etc' }, /must not hold "\.\." parts/],
    [{ ...AT_FOUR, inPlace: true, port: 5433 }, /port: means nothing in the place of the live cluster/],
    [{ toTime: '2026-01-17T01:00:00Z', inPlace: true }, /2026-01-17T02:00:05.000000Z to /],
    [{ ...AT_FOUR, table: 'a b' }, /is no list of tables/],
    [{ ...AT_FOUR, database: 'x', toDatabase: 'template1' }, /new databases are made from it/],
    [{ ...AT_FOUR, timeline: 7 }, /Nothing can be recovered on timeline 7/],
    [{ ...AT_FOUR, surprise: 1 }, /surprise/],
  ])('refuses %j', async (payload, said) => {
    expect(await refusal(payload)).toMatchObject({ message: expect.stringMatching(said) });
    expect(stage.ssm.commands).toEqual([]);
  });

  it('tells for the place of the live cluster what to do on the host, with all that S3 decides, and starts nothing', async () => {
    const words = '--to-time 2026-01-17T04:30:00.000000Z --timeline 1 --base hostmaster_base_20260117_015005';
    const agent =
      "sudo sh -c 'set -a; . /etc/lifeboat/hostmaster-wal.env; set +a; cd /; exec /opt/lifeboat/current/bin/lifeboat";
    const refused = (await refusal({ ...AT_FOUR, inPlace: true })) as { hint: string };
    expect(refused).toMatchObject({
      code: 'RESTORE_REFUSED',
      message: expect.stringMatching(/done on its host[^]*02:00:05.000000Z to 2026-01-17T05:00:05/),
    });
    expect(refused.hint.split('\n').slice(1)).toEqual([
      `aws ssm start-session --target ${HOST}`,
      `${agent} restore ${words} --in-place --dry-run'`,
      `${agent} restore ${words} --in-place'`,
    ]);
    expect(stage.ssm.commands).toEqual([]);
  });

  it('lists base backups and what can be recovered beside the dumps', async () => {
    await stage.putBackup('hostmaster_db_20260116_020000');
    const damaged = await cluster.base(6);
    await stage.backups.remove(damaged.keys.slice(0, 1));
    const listed = await stage.restore({ action: 'list' });
    expect(listed).toMatchObject({
      backups: [{ id: 'hostmaster_db_20260116_020000' }],
      bases: [
        { label: damaged.manifest.label, state: 'damaged', detail: expect.stringMatching(/is missing/) },
        {
          label: 'hostmaster_base_20260117_015005',
          state: 'usable',
          type: 'full',
          chain: [],
          time: '2026-01-17T02:00:05.000Z',
          systemIdentifier: cluster.series.systemIdentifier,
          url: expect.stringMatching(/^s3:\/\/backups\/database\/pitr\/hostmaster\/.*_015005\/$/),
        },
      ],
      olderBases: 0,
      window: ['2026-01-17T02:00:05.000000Z to 2026-01-17T05:00:05.000000Z, timeline 1'],
      recovery: [
        {
          earliest: { time: '2026-01-17T02:00:05.000000Z' },
          latest: { time: '2026-01-17T05:00:05.000000Z' },
          holes: [],
        },
      ],
    });
  });

  it('lists what a verification found damaged as such, and plans nothing with it', async () => {
    await cluster.verdict(4, 'damaged');
    expect(await stage.restore({ action: 'list' })).toMatchObject({
      window: [
        '2026-01-17T02:00:05.000000Z to 2026-01-17T03:00:05.000000Z, timeline 1',
        expect.stringMatching(/^hole: .*\(a verification at 2026-01-17 05:05 UTC found it damaged\)$/),
      ],
    });
    expect(await refusal(AT_FOUR)).toMatchObject({ code: 'TARGET_OUTSIDE_WINDOW' });
    await cluster.verdict('hostmaster_base_20260117_015005', 'damaged');
    expect(await stage.restore({ action: 'list' })).toMatchObject({
      bases: [{ state: 'damaged', detail: expect.stringMatching(/^a verification at /) }],
      window: [expect.stringMatching(/^nothing of the cluster/)],
    });
  });

  it('lists the backups also where there is no time to measure the window, and says where it can be asked for', async () => {
    const late = stage.context({ getRemainingTimeInMillis: () => 15_000 });
    const listed = await stage.restore({ action: 'list' }, late);
    expect(listed).toMatchObject({ bases: [{ state: 'usable' }], recovery: null });
    expect(listed).toMatchObject({
      window: [
        expect.stringMatching(/^not known: .*too much WAL/),
        expect.stringMatching(/lifeboat wal status/),
      ],
    });
  });

  it('ends with words, not with its time, where there is too much to list', async () => {
    const late = stage.context({ getRemainingTimeInMillis: () => 15_000 });
    await expect(stage.restore({ action: 'plan', ...AT_FOUR }, late)).rejects.toMatchObject({
      code: 'S3_UNAVAILABLE',
      message: expect.stringContaining('too much WAL of hostmaster'),
      hint: expect.stringContaining('--dry-run'),
    });
  });

  it('says so where there is no base backup', async () => {
    const empty = await startStage(CONFIG);
    try {
      await expect(empty.restore({ action: 'plan', latest: true })).rejects.toMatchObject({
        code: 'BACKUP_NOT_FOUND',
      });
    } finally {
      await empty.close();
    }
  });

  it('is told of afterwards: what was reached, what may be missing, and how to look, stop and remove', async () => {
    const { runId } = await execute(AT_FOUR);
    const recovered: RecoveredFacts = {
      target: '2026-01-17T04:30:00.000000Z',
      base: 'hostmaster_base_20260117_015005',
      timeline: 2,
      lsn: '0/4FFFFF8',
      lastCommit: '2026-01-17T04:00:05.000000Z',
      loss: 'That commit is 1795.000 s before the time asked for; none between the two is in the WAL.',
      durationsMs: { unpacking: 61_000, replaying: 5000, total: 70_000 },
      cluster: {
        dataDir: '/var/backups/hostmaster/recovered_hostmaster',
        state: 'open',
        look: 'sudo -u postgres psql -h /x -p 5432 postgres',
        stop: 'sudo -u postgres pg_ctl -D /x stop',
        remove: 'sudo rm -r /x',
      },
    };
    const outcome = {
      kind: 'restore',
      source: 'x',
      database: 'hostmaster_prod',
      checked: null,
      keptAs: null,
      recovered,
    } as const;
    const { nonce } = decodeRequest(stage.ssm.commands[0]!.parameters['Request']![0]!);
    await stage.putResult(runId, { ...goodResult(runId), operation: 'restore', nonce, outcome });
    await stage.reportRun(statusEvent(stage.ssm.commands[0]!.id, 'Success'));
    const { subject, text } = stage.published[0]!;
    expect(subject).toBe('HostMaster DB Recovery SUCCESS');
    for (const line of [
      'Target: 2026-01-17T04:30:00.000000Z',
      'Recovered: last commit 2026-01-17T04:00:05.000000Z at 0/4FFFFF8, from hostmaster_base_20260117_015005',
      'Loss: That commit is 1795.000 s before the time asked for',
      'Cluster: /var/backups/hostmaster/recovered_hostmaster on db1',
      'Look: sudo -u postgres psql',
      'Stop: sudo -u postgres pg_ctl',
      'Remove: sudo rm -r /x',
      'Safe: the live cluster, with hostmaster_prod, is as it was',
    ])
      expect(text).toContain(line);
  });
});
