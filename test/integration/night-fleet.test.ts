import { setTimeout as sleep } from 'node:timers/promises';
import { serverUser } from '../../scripts/set-up/postgres-installation.ts';
import { INSTANCE_ID, useNight } from './night-fixture.ts';

const AWAY = 'i-0fedcba9876543210';
/** Without an instance profile, its agent has never registered with SSM. */
const UNKNOWN = 'i-0000000000000000a';
const STOPPED = 'i-0000000000000000b';
const KEY = 'arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555';
const SECRET = 'arn:aws:secretsmanager:eu-west-1:111122223333:secret:database-AbCdEf';

/** Everything that the other deployment leaves out: hosts by tag, a time zone, a key, a password, a role that is there. */
const night = useNight({
  tags: { lifeboat: 'nightly' },
  systemd: true,
  others: [AWAY, UNKNOWN, STOPPED],
  secrets: (postgres) => ({
    [SECRET]: JSON.stringify({ username: postgres.superuser, password: postgres.password }),
  }),
  configure: ({ series: [series], ...config }, postgres) => ({
    ...config,
    name: 'Fleet',
    hostRoleName: 'database-hosts',
    schedule: { timeZone: 'UTC' },
    storage: { kmsKeyArn: KEY },
    series: [
      {
        ...series,
        host: { tag: { key: 'lifeboat', value: 'nightly' } },
        dbHost: postgres.host,
        passwordSecretArn: SECRET,
        format: 'custom',
        compression: 'zstd',
        pointInTimeRecovery: true,
      },
    ],
  }),
});

describe('a night of a fleet', () => {
  it('starts one run for each host that carries the tag, and tells of each', async () => {
    const { aws } = night();
    aws.host(AWAY).isUp = false;
    aws.host(UNKNOWN).hasProfile = false;
    aws.host(STOPPED).state = 'stopped';
    await night().fire();
    expect(aws.commands()).toHaveLength(2);
    expect(aws.commands().map(({ request, details }) => [request.instanceId, details])).toEqual(
      expect.arrayContaining([
        [INSTANCE_ID, 'Success'],
        [AWAY, 'InProgress'],
      ]),
    );
    aws.expireDeliveries();
    await aws.waitForIdle();
    const subjects = aws.messages().map(({ message }) => message.split('\n')[0]);
    expect(subjects).toEqual(['🔄 HostMaster DB Backup SUCCESS', '🔄 HostMaster DB Backup FAILED']);
  });

  it('tells once of each host that carries the tag and that SSM cannot reach, and calls nobody for start-run', async () => {
    const { aws } = night();
    const before = aws.messages().length;
    await night().watch();
    await night().watch();
    const told = aws.messages().slice(before);
    for (const [host, why] of [
      [UNKNOWN, 'InstanceNotManaged'],
      [STOPPED, 'InstanceStopped'],
    ]) {
      const about = told.filter(({ message }) => message.includes(`on ${host}`));
      expect(about).toHaveLength(1);
      expect(about[0]?.message).toContain(why);
    }
    expect(told).toHaveLength(2);
    const raised = aws.evaluateAlarms(new Date()).filter(({ state }) => state === 'ALARM');
    expect(raised.map(({ name }) => name).toSorted()).toEqual([
      'Fleet-backup-failed-hostmaster',
      'Fleet-host-unreachable-hostmaster',
      // No service streams where only root could have one.
      ...(serverUser() === undefined ? ['Fleet-wal-silent-hostmaster'] : []),
    ]);
    // The alarm's own message is on its way to Slack.
    await aws.waitForIdle();
    expect(aws.queues().flatMap(({ messages }) => messages)).toEqual([]);
  });

  it('makes a dump and a base backup of the cluster, and one message of both', async () => {
    const { aws, bucket } = night();
    const [message = ''] = aws.messages().map((each) => each.message);
    expect(message).toMatch(
      /✅ Backup completed successfully\nFile: hostmaster_db_.*\nSize: .*\nBase backup: hostmaster_base_\w+, full\n/,
    );
    expect(message).toMatch(/\nRestorable to any second: .* UTC to .* UTC\n/);
    const keys = await night().keys(bucket);
    expect(keys).toContainEqual(
      expect.stringMatching(
        new RegExp(
          `^database/${INSTANCE_ID}/pitr/hostmaster/\\d+/base/hostmaster_base_\\w+/manifest\\.json$`,
        ),
      ),
    );
  });

  it('keeps each host’s backups in a folder of its own', async () => {
    const keys = await night().keys(night().bucket);
    expect(keys).toContainEqual(
      expect.stringMatching(new RegExp(`^database/${INSTANCE_ID}/.*\\.dump\\.zst$`)),
    );
    expect(keys.filter((key) => !key.startsWith(`database/${INSTANCE_ID}/`))).toEqual([]);
  });

  if (serverUser() !== undefined) {
    const UNIT = 'hostmaster-wal.service';
    const journal = async (): Promise<string[]> =>
      (await night().keys(night().stateBucket)).filter((key) => key.includes('/journal/'));

    it('installs the service that streams WAL, which does so with the host’s rights alone', async () => {
      const { postgres, services, aws, bucket } = night();
      expect(services!.calls()).toEqual(['daemon-reload', `enable ${UNIT}`, `restart ${UNIT}`]);
      expect(aws.messages()[0]?.message).not.toContain('⚠️');
      expect(services!.read(`etc/systemd/system/${UNIT}`)).not.toContain(postgres.password);
      await postgres.psql(
        'hostmaster_prod',
        'CREATE TABLE streamed AS SELECT generate_series(1, 1000) AS id',
      );
      while ((await journal()).length === 0) await sleep(200);
      expect((await journal())[0]).toMatch(new RegExp(`^database/${INSTANCE_ID}/journal/hostmaster/`));
      await postgres.psql('postgres', 'SELECT pg_switch_wal()');
      const segments = async (): Promise<string[]> =>
        (await night().keys(bucket)).filter((key) => /\/wal\/00000001\/[0-9A-F]{24}\.zst$/.test(key));
      while ((await segments()).length === 0) await sleep(200);
      expect((await segments())[0]).toMatch(new RegExp(`^database/${INSTANCE_ID}/pitr/hostmaster/`));
    });

    it('leaves the service alone while it runs, and starts it again, and tells, when it was killed', async () => {
      const { aws, services } = night();
      const invoke = () => aws.invoke('StartRun', { operation: 'status', instanceId: INSTANCE_ID });
      const [calls, pid] = [services!.calls().length, services!.pidOf(UNIT)];
      await invoke();
      await aws.waitForIdle();
      expect([services!.calls().length, services!.pidOf(UNIT)]).toEqual([calls, pid]);
      await services!.kill(UNIT);
      await invoke();
      await aws.waitForIdle();
      expect(services!.pidOf(UNIT)).not.toBe(pid);
      expect(aws.messages().at(-1)?.message).toContain(
        `⚠️ ${UNIT}, which streams WAL, was failed, signal, exit status 9; it was started again`,
      );
    });
  }

  it('is watched for each host', async () => {
    await night().watch();
    const ages = night()
      .aws.metrics('BackupAgeSeconds')
      .map(({ value }) => value);
    // The host that made a backup, and the three that were asked for one.
    expect(ages.length % 4).toBe(0);
    expect(ages.length).toBeGreaterThan(0);
  });

  it('restores on the host that is named, and asks which where none is', async () => {
    const { aws, postgres } = night();
    const plan = { action: 'plan', source: 'latest', database: 'hostmaster_copy' };
    expect(await aws.invoke('Restore', plan)).toMatchObject({ ok: false });
    const planned = await aws.invoke('Restore', { ...plan, instanceId: INSTANCE_ID });
    if (!planned.ok) throw new Error(planned.error.errorMessage);
    const { planId, confirm } = planned.result as Record<string, unknown>;
    expect(await aws.invoke('Restore', { action: 'execute', planId, confirm })).toMatchObject({ ok: true });
    await aws.waitForIdle();
    expect(await postgres.psql('hostmaster_copy', 'SELECT count(*) FROM users')).toBe('1000');
  });

  it('calls nothing that the synthesized policies do not allow, the storage’s key and the password’s secret included', () => {
    const calls = night().aws.recordedCalls();
    const denied = calls.filter(({ allowed, resource }) => !allowed && !resource.includes(':::cdk-'));
    expect(denied).toEqual([]);
    expect(calls).toContainEqual(
      expect.objectContaining({ action: 'secretsmanager:GetSecretValue', resource: SECRET }),
    );
    expect(calls).toContainEqual(expect.objectContaining({ action: 'kms:GenerateDataKey', resource: KEY }));
    if (serverUser() !== undefined)
      expect(calls).toContainEqual(
        expect.objectContaining({
          action: 's3:PutObject',
          resource: expect.stringContaining(`/database/${INSTANCE_ID}/journal/`),
          principal: night().aws.host(INSTANCE_ID).principal.id,
        }),
      );
    for (const role of ['StartRun', 'Watch'])
      expect(calls).toContainEqual(
        expect.objectContaining({
          action: 'ec2:DescribeInstances',
          principal: expect.stringContaining(`Functions${role}`),
        }),
      );
    expect(calls).toContainEqual(
      expect.objectContaining({
        action: 'lambda:InvokeFunction',
        principal: expect.stringContaining('Schedule'),
      }),
    );
  });

  it('shows its password to nobody', () => {
    const { aws, postgres } = night();
    const written = JSON.stringify([
      aws.commands().map((command) => command.describeInvocation(true)),
      aws.messages(),
    ]);
    expect(written).not.toContain(JSON.stringify(postgres.password).slice(1, -1));
  });
});
