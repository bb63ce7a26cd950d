import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runTime } from '../../lib/domain/run/run-id.ts';
import { startAgent } from './agent-process.ts';
import { DATABASE, INSTANCE_ID, resultOf, useNight } from './night-fixture.ts';

const night = useNight();

/** Of what was published since. */
function published(since: number): string[] {
  return night()
    .aws.messages()
    .slice(since)
    .map(({ message }) => message.split('\n')[0] ?? '');
}

/** Until pg_dump waits for a lock. */
async function untilWaiting(): Promise<void> {
  const waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
  while ((await night().postgres.psql('postgres', waiting)) === '0') await sleep(50);
}

describe('a night', () => {
  it('begins at 02:00 and ends with a backup in S3, one message to Slack and one mail', async () => {
    const { aws, slack, bucket, stateBucket } = night();
    const time = await night().fire();
    expect(aws.commands().map(({ details }) => details)).toEqual(['Success']);
    expect(slack.takeMessages()).toEqual([expect.stringContaining('🔄 HostMaster DB Backup SUCCESS')]);
    expect(aws.mails()).toHaveLength(1);
    expect(aws.mails()[0]).toMatchObject({ to: 'ops@example.com', subject: 'HostMaster DB Backup SUCCESS' });
    expect(aws.mails()[0]?.text).not.toContain('⚠️');
    const backups = await night().keys(bucket);
    expect(backups).toContainEqual(
      expect.stringMatching(/^database\/hostmaster_db_\d{8}_\d{6}\.manifest\.json$/),
    );
    const run = aws.commands()[0]?.request.comment ?? '';
    expect(runTime(run)).toEqual(time);
    const state = await night().keys(stateBucket);
    for (const object of ['request', 'command', 'result', 'report', 'reported'])
      expect(state).toContainEqual(expect.stringContaining(`${run}/${object}.json`));
  });

  it('is measured by the watch, and raises no alarm', async () => {
    const { aws } = night();
    await night().watch();
    expect(aws.metrics('BackupAgeSeconds').at(-1)?.value).toBeLessThan(1200);
    expect(aws.metrics('RunSucceeded').at(-1)?.value).toBe(1);
    expect(aws.evaluateAlarms(new Date()).filter(({ state }) => state === 'ALARM')).toEqual([]);
  });

  it('installs the agent once, and uses it from then on', async () => {
    const { aws, host } = night();
    const installed = (): object[] =>
      readdirSync(host.installRoot)
        .filter((name) => name !== 'current')
        .map((name) => {
          const agent = path.join(host.installRoot, name);
          const { ino, mtimeMs } = statSync(path.join(agent, 'bin/lifeboat'));
          return { name, folder: statSync(agent).ino, program: ino, mtimeMs };
        });
    const before = installed();
    expect(before).toHaveLength(1);
    await night().fire();
    const [first, second] = aws.commands().map((command) => command.describeInvocation(true));
    const outputs = ({ CommandPlugins }: Record<string, unknown>): string[] =>
      (CommandPlugins as Record<string, string>[]).map(({ Output = '' }) => Output.split(' to ')[0] ?? '');
    const downloaded = 'Content downloaded';
    expect(outputs(first!)).toEqual([
      '',
      downloaded,
      downloaded,
      expect.stringContaining('LIFEBOAT-VERDICT'),
    ]);
    expect(outputs(second!)).toEqual(['', '', '', expect.stringContaining('LIFEBOAT-VERDICT')]);
    expect(aws.commands()[1]?.details).toBe('Success');
    expect(installed()).toEqual(before);
  });

  it('is one run and one message, however often its event comes', async () => {
    const { aws } = night();
    const [commands, messages] = [aws.commands().length, aws.messages().length];
    const time = night().nextNight();
    await night().fire(time);
    await night().fire(time);
    expect(aws.commands()).toHaveLength(commands + 1);
    expect(published(messages)).toEqual(['🔄 HostMaster DB Backup SUCCESS']);
  });

  it('sends no second command when the answer to the first is lost', async () => {
    const { aws, stateBucket } = night();
    const before = aws.commands().length;
    aws.ssmFaults.loseSendAnswers = 1;
    await night().fire();
    expect(aws.commands()).toHaveLength(before + 1);
    const run = aws.commands().at(-1)?.request.comment;
    expect(await night().keys(stateBucket)).toContainEqual(expect.stringContaining(`${run}/command.json`));
  });

  it('sends no second command when start-run died between the command and the note of it', async () => {
    const { aws, stateBucket } = night();
    const time = await night().fire();
    const before = aws.commands().length;
    const run = aws.commands().at(-1)?.request.comment;
    const note = (await night().keys(stateBucket)).find((key) => key.endsWith(`${run}/command.json`));
    await night().remove(stateBucket, note!);
    aws.function('StartRun').end();
    await night().remove(stateBucket, note!.replace('command', 'report'));
    await night().fire(time);
    expect(aws.commands()).toHaveLength(before);
    expect(await night().keys(stateBucket)).toContain(note);
  });

  it('waits for SSM when it throttles', async () => {
    const { aws } = night();
    const before = aws.commands().length;
    aws.ssmFaults.throttleSends = 3;
    await night().fire();
    expect(aws.commands()).toHaveLength(before + 1);
    expect(aws.ssmFaults.throttleSends).toBe(0);
  });

  it('that is cancelled at work leaves nothing behind that the next one trips on', async () => {
    const { aws, postgres } = night();
    const messages = aws.messages().length;
    // Whoever wants to read the table waits for this session.
    const holding = postgres.psql(DATABASE, 'BEGIN; LOCK TABLE users; SELECT pg_sleep(600)');
    const held = holding.catch(() => 'ended');
    aws.fireSchedule('Nightly', night().nextNight());
    await untilWaiting();
    aws.cancel(aws.commands().at(-1)!.id);
    await aws.waitForIdle();
    await postgres.psql(
      'postgres',
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'pg_sleep' AND pid <> pg_backend_pid()",
    );
    expect(await held).toBe('ended');
    expect(aws.commands().at(-1)?.details).toBe('Cancelled');
    expect(published(messages)).toEqual(['🔄 HostMaster DB Backup FAILED']);
    await night().fire();
    expect(published(messages).at(-1)).toBe('🔄 HostMaster DB Backup SUCCESS');
  });

  it('tells one message though every event comes twice, in the wrong order', async () => {
    const { aws } = night();
    const messages = aws.messages().length;
    aws.events.transform = (event) => [event, event];
    aws.events.hold();
    await night().fire();
    aws.events.release((events) => events.toReversed());
    await aws.waitForIdle();
    expect(published(messages)).toEqual(['🔄 HostMaster DB Backup SUCCESS']);
  });

  it('asks SSM again that does not know the invocation yet', async () => {
    const { aws } = night();
    const messages = aws.messages().length;
    aws.ssmFaults.invocationsNotThereYet = 2;
    await night().fire();
    expect(published(messages)).toEqual(['🔄 HostMaster DB Backup SUCCESS']);
  });

  it('is reported by the watch when no event came, and then not again by a late one', async () => {
    const { aws } = night();
    const messages = aws.messages().length;
    const events = aws.events.events.length;
    aws.events.transform = () => [];
    await night().earlier(12, () => night().fire());
    expect(published(messages)).toEqual([]);
    await night().watch();
    expect(published(messages)).toEqual(['🔄 HostMaster DB Backup SUCCESS']);
    for (const event of aws.events.events.slice(events)) aws.events.deliver(event);
    await night().watch();
    expect(published(messages)).toHaveLength(1);
  });

  it('with PostgreSQL down ends in a message that says why, and in an alarm', async () => {
    const { aws, postgres, slack } = night();
    await postgres.stop();
    await night().fire();
    await postgres.start();
    const [message] = slack.takeMessages();
    expect(message).toContain('🔄 HostMaster DB Backup FAILED');
    expect(message).toContain('DB_CONNECT');
    expect(aws.commands().at(-1)?.details).toBe('Failed');
    const raised = aws.evaluateAlarms(new Date()).filter(({ state }) => state === 'ALARM');
    expect(raised.map(({ name }) => name)).toEqual(['Lifeboat-backup-failed-hostmaster']);
    await aws.waitForIdle();
    const [alarm] = slack.takeMessages();
    expect(alarm).toContain('ALARM');
    expect(alarm).toContain('runbook');
    expect(alarm).not.toContain('{"AlarmName"');
  });

  it('whose host is down is told when the time for delivery is over, as one message', async () => {
    const { aws, slack } = night();
    const messages = aws.messages().length;
    aws.host(INSTANCE_ID).isUp = false;
    await night().fire();
    expect(aws.commands().at(-1)?.details).toBe('InProgress');
    expect(published(messages)).toEqual([]);
    aws.expireDeliveries();
    await aws.waitForIdle();
    aws.host(INSTANCE_ID).isUp = true;
    expect(published(messages)).toEqual(['🔄 HostMaster DB Backup FAILED']);
    expect(slack.takeMessages().at(-1)).toContain('HOST_UNREACHABLE');
    expect(aws.metrics('HostUnreachable').at(-1)?.value).toBe(1);
  });

  it.each(['Undeliverable', 'Terminated', 'InvalidPlatform', 'AccessDenied', 'Cancelled'] as const)(
    'that SSM ends as %s is one message',
    async (details) => {
      const { aws } = night();
      const messages = aws.messages().length;
      aws.host(INSTANCE_ID).isUp = false;
      await night().fire();
      aws.expireDeliveries(details);
      await aws.waitForIdle();
      aws.host(INSTANCE_ID).isUp = true;
      expect(published(messages)).toEqual(['🔄 HostMaster DB Backup FAILED']);
    },
  );

  it('of which nothing was heard past its deadline is told as lost, once', async () => {
    const { aws, stateBucket } = night();
    const messages = aws.messages().length;
    const [key = ''] = (await night().keys(stateBucket)).filter((each) => each.endsWith('/request.json'));
    const request = JSON.parse(await night().read(stateBucket, key)) as Record<string, unknown>;
    const yesterday = new Date(Date.now() - 24 * 60 * 60 * 1000);
    const stamp = yesterday.toISOString().slice(0, 19).replaceAll(/[-:]/g, '');
    const runId = `${stamp}Z-0123456789ab`;
    const folder = `database/runs/${yesterday.toISOString().slice(0, 10).replaceAll('-', '/')}/${runId}`;
    const lost = {
      ...request,
      runId,
      requestedAt: yesterday.toISOString(),
      deadline: yesterday.toISOString(),
    };
    await night().write(stateBucket, `${folder}/request.json`, JSON.stringify(lost));
    await night().watch();
    await night().watch();
    expect(published(messages)).toEqual(['🔄 HostMaster DB Backup FAILED']);
  });

  it('reads the report of any other operation to people', async () => {
    const { aws, slack } = night();
    const { runs } = resultOf(await aws.invoke('StartRun', { operation: 'verify' })) as { runs: unknown[] };
    await aws.waitForIdle();
    expect(runs).toHaveLength(1);
    expect(aws.commands().at(-1)?.details).toBe('Success');
    expect(slack.takeMessages()).toHaveLength(1);
  });

  it('refuses a payload that nobody can mean, and says what is expected', async () => {
    const outcome = await night().aws.invoke('StartRun', { operation: 'drop', also: 1 });
    expect(outcome).toMatchObject({ ok: false });
    expect(JSON.stringify(outcome)).toMatch(/backup.*verify.*status/);
  });
});

describe('the restore function', () => {
  const plan = async (database: string, more: Record<string, unknown> = {}) =>
    resultOf(await night().aws.invoke('Restore', { action: 'plan', source: 'latest', database, ...more }));
  const rows = (database: string) => night().postgres.psql(database, 'SELECT count(*) FROM users');

  it('lists the backups', async () => {
    const { backups } = resultOf(await night().aws.invoke('Restore', { action: 'list' }));
    expect((backups as unknown[]).length).toBeGreaterThan(2);
  });

  it('restores into a new database what was planned and confirmed', async () => {
    const { aws, slack } = night();
    const { planId, confirm } = await plan('hostmaster_staging');
    resultOf(await aws.invoke('Restore', { action: 'execute', planId, confirm }));
    await aws.waitForIdle();
    expect(aws.commands().at(-1)?.details).toBe('Success');
    expect(await rows('hostmaster_staging')).toBe('1000');
    expect(slack.takeMessages()).toEqual([expect.stringContaining('SUCCESS')]);
  });

  it('does a plan once', async () => {
    const { aws } = night();
    const { planId, confirm } = await plan('hostmaster_once');
    const execute = { action: 'execute', planId, confirm };
    const [first, second] = await Promise.all([
      aws.invoke('Restore', execute),
      aws.invoke('Restore', execute),
    ]);
    await aws.waitForIdle();
    const commands = aws.commands().filter(({ request }) => request.comment === resultOf(first)['runId']);
    expect(resultOf(second)['runId']).toBe(resultOf(first)['runId']);
    // Both may have sent it; the host does it once.
    expect(commands.filter(({ details }) => details === 'Success')).toHaveLength(1);
    expect(await rows('hostmaster_once')).toBe('1000');
  });

  it('restores over an existing database only with its name typed again, and keeps the old one', async () => {
    const { aws, postgres } = night();
    await postgres.psql(DATABASE, 'DELETE FROM users WHERE id > 10');
    const { planId, confirm } = await plan(DATABASE, { replace: true });
    const refused = await aws.invoke('Restore', { action: 'execute', planId, confirm });
    expect(refused.ok).toBe(false);
    const agreed = { action: 'execute', planId, confirm, replace: true, database: DATABASE };
    resultOf(await aws.invoke('Restore', agreed));
    await aws.waitForIdle();
    expect(await rows(DATABASE)).toBe('1000');
    const kept = await postgres.psql(
      'postgres',
      `SELECT count(*) FROM pg_database WHERE datname ~ '${DATABASE}_before'`,
    );
    expect(kept).toBe('1');
  });
});

describe('the restore function, asked for a point in time', () => {
  /** As the host would, but with an operator's keys: no systemd here keeps the stream running. */
  const agentEnv = (): Record<string, string> => {
    const { aws, postgres, bucket, stateBucket, folder } = night();
    const { accessKeyId, secretAccessKey, sessionToken } = aws.operator.credentials;
    return {
      ...postgres.env,
      DB_NAME: DATABASE,
      BACKUP_DIR: path.join(folder, 'operator'),
      S3_BUCKET: bucket,
      S3_STATE_BUCKET: stateBucket,
      S3_PREFIX: 'database',
      AWS_ENDPOINT_URL_S3: aws.s3.endpoint,
      AWS_REGION: aws.s3.region,
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: secretAccessKey,
      AWS_SESSION_TOKEN: sessionToken,
      WAL_JOURNAL_SECONDS: '1',
    };
  };

  let good = '';

  beforeAll(async () => {
    const { aws, postgres } = night();
    const sql = (text: string): Promise<string> => postgres.psql(DATABASE, text);
    await sql('CREATE TABLE invoices AS SELECT generate_series(1, 300) AS id');
    const stream = startAgent(['wal', 'stream'], { env: agentEnv() });
    await stream.untilPrinted(/Streaming WAL of cluster/);
    resultOf(await aws.invoke('StartRun', { operation: 'backup', kind: 'base' }));
    await aws.waitForIdle();
    expect(aws.commands().at(-1)?.details).toBe('Success');
    await sql('INSERT INTO invoices SELECT generate_series(301, 400)');
    good = await sql(`SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`);
    await sql('DROP TABLE invoices');
    await sql('SELECT pg_switch_wal()');
    const dropped = await sql('SELECT pg_current_wal_flush_lsn()');
    const confirmed = `SELECT count(*) FROM pg_replication_slots WHERE restart_lsn >= '${dropped}'`;
    while ((await sql(confirmed)) === '0') await sleep(100);
    stream.kill('SIGTERM');
    await stream.ended;
  });

  async function carryOut(payload: object): Promise<Record<string, unknown>> {
    const { aws } = night();
    const planned = resultOf(await aws.invoke('Restore', { action: 'plan', ...payload }));
    const { planId, confirm } = planned;
    resultOf(await aws.invoke('Restore', { action: 'execute', planId, confirm }));
    await aws.waitForIdle();
    expect(aws.commands().at(-1)?.details).toBe('Success');
    return planned;
  }

  it('brings back a table as it was before it was dropped', async () => {
    const { postgres, slack } = night();
    const planned = await carryOut({ toTime: good, table: 'public.invoices' });
    expect(planned['recovery']).toMatchObject({ timeline: 1, minutes: 1 });
    expect(await postgres.psql(DATABASE, 'SELECT count(*) FROM invoices')).toBe('400');
    expect(slack.takeMessages().at(-1)).toMatch(/Recovered: last commit 20.* at .*, from hostmaster_base_/);
  });

  it('leaves a cluster of then beside the live one, and tells how to look into it, stop and remove it', async () => {
    const { slack, host } = night();
    await carryOut({ toTime: good });
    const [message = ''] = slack.takeMessages();
    const dataDir = `${host.backupDir}/recovered_hostmaster`;
    expect(message).toContain('HostMaster DB Recovery SUCCESS');
    expect(message).toContain(`Cluster: ${dataDir}`);
    const pid = Number(readFileSync(path.join(dataDir, 'postmaster.pid'), 'utf8').split('\n')[0]);
    process.kill(pid, 'SIGQUIT');
    expect(message).toMatch(/Look: sudo -u \S+ psql -h \S+ -p 5432 postgres/);
    expect(message).toMatch(/Stop: .*pg_ctl -D .* stop/);
    expect(message).toMatch(/Remove: sudo rm -r /);
  });
});

describe('the calls of all that', () => {
  /** The SSM agent looks for the bucket’s region and for a folder; what it may not see, it does without. */
  const isAgentsLook = ({ action, resource }: { action: string; resource: string }): boolean =>
    action === 's3:ListBucket' && resource.includes(':::cdk-');

  it('are allowed by the synthesized policies, every one', () => {
    const denied = night()
      .aws.recordedCalls()
      .filter((call) => !call.allowed && !isAgentsLook(call));
    expect(denied).toEqual([]);
  });

  it('come from every role that the templates make for a runtime', () => {
    const callers = new Set(
      night()
        .aws.recordedCalls()
        .map(({ principal }) => principal),
    );
    for (const role of ['StartRun', 'Restore', 'ReportRun', 'Watch', 'Slack', 'Host'])
      expect([...callers]).toContainEqual(
        expect.stringMatching(new RegExp(`(Functions${role}|${role}Role)`)),
      );
  });

  it('hold neither the webhook nor a password, and no log of a function does', () => {
    const { aws, slack, postgres } = night();
    const logs = ['StartRun', 'Restore', 'ReportRun', 'Watch', 'Slack'].flatMap(
      (part) => aws.function(part).log,
    );
    const written = JSON.stringify([logs, aws.recordedCalls(), aws.messages(), aws.mails()]);
    for (const secret of [slack.webhookUrl, postgres.password]) expect(written).not.toContain(secret);
  });
});
