import { PutObjectCommand } from '@aws-sdk/client-s3';
import { formatBaseManifest, type BaseManifest } from '../../lib/domain/base/base-manifest.ts';
import { formatVerdictLine, type BaseFacts, type RunOutcome } from '../../lib/domain/run/result.ts';
import { TERMINAL_STATUSES } from '../../lib/domain/run/ssm-status.ts';
import { baseManifestKey } from '../../lib/domain/wal/keys.ts';
import { verdictKey } from '../../lib/domain/wal/verdicts.ts';
import { CLUSTER, sampleBase } from '../domain/base/sample-base.ts';
import { goodResult, HOST, SCHEDULED, startStage, statusEvent, type Stage } from './stage.ts';

const BASE: BaseFacts = {
  label: 'hostmaster_base_20260117_020100',
  type: 'full',
  parent: null,
  bytes: 2 * 1024 ** 3,
  rawBytes: 5 * 1024 ** 3,
  startLsn: '16/B3000028',
  stopLsn: '16/B374D848',
  location: 's3://backups/database/pitr/hostmaster/7300000000000000001/base/hostmaster_base_20260117_020100/',
  durationMs: 30_000,
  restorable: { earliest: '2026-01-10T02:04:11.123456Z', latest: '2026-01-17T02:05:59.654321Z', holes: 0 },
};

let stage: Stage;
beforeEach(async () => {
  stage = await startStage();
});
afterEach(async () => stage.close());

/** A run whose command was sent, and which SSM says has ended. */
async function endedRun(statusDetails: string, stdout = ''): Promise<{ runId: string; commandId: string }> {
  const { runs } = await stage.startRun({ operation: 'backup', scheduledFor: SCHEDULED });
  const command = stage.ssm.commands.at(-1)!;
  Object.assign(command, { statusDetails, stdout });
  stage.passMinutes(1);
  return { runId: runs[0]!.runId, commandId: command.id };
}

/** Of an unfinished one all but the manifest. */
async function putBase(
  startedAt: string,
  change: Partial<BaseManifest> | 'unfinished' = {},
): Promise<BaseManifest> {
  const unfinished = change === 'unfinished';
  const manifest = sampleBase(new Date(startedAt), unfinished ? {} : change);
  const key = `database/${baseManifestKey({ app: 'hostmaster', systemIdentifier: CLUSTER }, manifest.label)}`;
  for (const { key: name, size } of [...manifest.volumes, manifest.backupManifest!])
    await put(key.replace('manifest.json', name), new Uint8Array(size));
  if (!unfinished) await put(key, formatBaseManifest(manifest));
  return manifest;
}

async function put(key: string, body: string | Uint8Array): Promise<void> {
  await stage.s3Client.send(new PutObjectCommand({ Bucket: 'backups', Key: key, Body: body }));
}

/** EventBridge's word for what ListCommandInvocations has in detail. */
function eventStatus(statusDetails: string): string {
  return statusDetails.endsWith('TimedOut') ? 'TimedOut' : statusDetails;
}

describe('a run that the host has written a result of', () => {
  it('is told in the words of the user’s documents, with where to look next', async () => {
    const { runId, commandId } = await endedRun('Success');
    await stage.putResult(runId);
    expect(await stage.reportRun(statusEvent(commandId, 'Success'))).toEqual({ runId, action: 'published' });
    expect(stage.published).toEqual([
      {
        subject: 'HostMaster DB Backup SUCCESS',
        text: [
          '🔄 HostMaster DB Backup SUCCESS',
          '✅ Backup completed successfully',
          'File: hostmaster_db_20260117_020010.sql.gz',
          'Size: 12M',
          'Duration: 45s',
          '',
          `Database: hostmaster_prod on db1 (${HOST})`,
          'Holds: 12 tables, 1,234,567 rows',
          'Lies at: s3://backups/database/hostmaster_db_20260117_020010.sql.gz',
          `Restore with: aws lambda invoke --function-name Ops-Restore --cli-binary-format raw-in-base64-out --payload '{"action":"plan","app":"hostmaster","instanceId":"${HOST}","source":"hostmaster_db_20260117_020010","database":"hostmaster_prod_restored"}' /dev/stdout`,
          `Run: ${runId}`,
          `Command: ${commandId}`,
          `Output: https://eu-west-1.console.aws.amazon.com/systems-manager/run-command/${commandId}/${HOST}?region=eu-west-1`,
          'Dashboard: https://dashboard.example',
        ].join('\n'),
      },
    ]);
    expect(stage.metrics()).toEqual([
      {
        RunFailed: 0,
        RunSucceeded: 1,
        HostUnreachable: 0,
        BackupDurationSeconds: 45,
        BackupBytes: 12 * 1024 * 1024,
      },
    ]);
    expect(await stage.readRun(runId, 'reported')).toMatchObject({ messageId: '1' });
  });

  it('is told by its failure, with the last good backup', async () => {
    await stage.putBackup('hostmaster_db_20260116_020000');
    await stage.putBackup('hostmaster_db_20260117_020000', { without: ['dump'] });
    const { runId, commandId } = await endedRun('Failed');
    const failure = { code: 'DB_CONNECT', message: 'no server', hint: 'Start it.' };
    await stage.putResult(runId, { outcome: null, failure, exitStatus: 4 });
    await stage.reportRun(statusEvent(commandId, 'Failed'));
    const { text } = stage.published[0]!;
    expect(text).toMatch(
      /^🔄 HostMaster DB Backup FAILED\n❌ no server\nWhat to do: Start it.\nError: DB_CONNECT/,
    );
    expect(text).toContain('Last good backup: hostmaster_db_20260116_020000, 24h 01m old');
    expect(stage.metrics()).toEqual([{ RunFailed: 1, RunSucceeded: 0, HostUnreachable: 0 }]);
  });

  it('tells of a base backup, with its own measures', async () => {
    const { runId, commandId } = await endedRun('Success');
    await stage.putResult(runId, { outcome: { kind: 'base', ...BASE } });
    await stage.reportRun(statusEvent(commandId, 'Success'));
    const { subject, text } = stage.published[0]!;
    expect(subject).toBe('HostMaster DB Base Backup SUCCESS');
    expect(text).toContain('\nBackup: hostmaster_base_20260117_020100\nKind: full\n');
    expect(text).toContain(
      '\nRestorable to any second: 2026-01-10 02:04:11 UTC to 2026-01-17 02:05:59 UTC\n',
    );
    expect(stage.metrics()[0]).toMatchObject({
      BaseBackupDurationSeconds: 30,
      BaseBackupBytes: 2 * 1024 ** 3,
    });
    expect(stage.metrics()[0]).not.toHaveProperty('BackupBytes');
  });

  it('tells of dump and base backup in one message, with the measures of each', async () => {
    const { runId, commandId } = await endedRun('Success');
    const { kind: _, ...dump } = goodResult(runId).outcome as Extract<RunOutcome, { kind: 'backup' }>;
    await stage.putResult(runId, {
      outcome: { kind: 'both', dump: { ...dump, durationMs: 12_000 }, base: BASE },
    });
    await stage.reportRun(statusEvent(commandId, 'Success'));
    expect(stage.published).toHaveLength(1);
    expect(stage.published[0]!.text).toMatch(
      /✅ Backup completed successfully\nFile: .*\nSize: 12M\nBase backup: hostmaster_base_/,
    );
    expect(stage.metrics()[0]).toMatchObject({
      RunSucceeded: 1,
      BackupDurationSeconds: 12,
      BackupBytes: 12 * 1024 * 1024,
      BaseBackupDurationSeconds: 30,
      BaseBackupBytes: 2 * 1024 ** 3,
    });
  });

  it('is a failure when half of it failed, and tells of what stands and of the last good other half', async () => {
    const lastBase = await putBase('2026-01-16T01:50:00Z');
    await putBase('2026-01-16T22:00:00Z', { pageChecksums: { verified: true, failures: 3 } });
    await putBase('2026-01-16T23:00:00Z', 'unfinished');
    const { label } = await putBase('2026-01-16T21:00:00Z');
    const series = { app: 'hostmaster', systemIdentifier: CLUSTER };
    const verdict = { ...series, object: label, at: '2026-01-16T22:30:00.000Z', found: 'damaged' } as const;
    await stage.s3Client.send(
      new PutObjectCommand({ Bucket: 'state', Key: `database/${verdictKey(verdict)}`, Body: '{}' }),
    );
    const pitr = 'database/pitr/hostmaster';
    await put(`${pitr}/${CLUSTER}/base/hostmaster_base_20260116_231000/manifest.json`, '{');
    await put(`${pitr}/old/base/hostmaster_base_20260116_232000/manifest.json`, '{}');
    const { runId, commandId } = await endedRun('Failed');
    const { kind: _, ...dump } = goodResult(runId).outcome as Extract<RunOutcome, { kind: 'backup' }>;
    const failure = {
      code: 'S3_DENIED',
      message: 'The base backup failed, the dump x stands',
      hint: 'Give.',
    };
    await stage.putResult(runId, {
      outcome: { kind: 'both', dump: { ...dump, durationMs: 12_000 }, base: null },
      failure,
      exitStatus: 5,
    });
    await stage.reportRun(statusEvent(commandId, 'Failed'));
    const { text } = stage.published[0]!;
    expect(text).toContain('Backup FAILED\n❌ The base backup failed, the dump x stands\n');
    expect(text).toContain('\nDump made all the same: hostmaster_db_20260117_020010, 12M\n');
    expect(text).toContain(`\nBase backup: Last good backup: ${lastBase.label}, 24h `);
  });

  it('is no success when it says so and half of it is missing', async () => {
    const { runId, commandId } = await endedRun('Success');
    await stage.putResult(runId, { outcome: { kind: 'both', dump: null, base: BASE } });
    await stage.reportRun(statusEvent(commandId, 'Success'));
    expect(stage.published[0]!.text).toContain('Backup FAILED');
  });

  it('tells how to restore in words that the restore function takes', async () => {
    await stage.putBackup('hostmaster_db_20260117_020010');
    const { runId, commandId } = await endedRun('Success');
    await stage.putResult(runId);
    await stage.reportRun(statusEvent(commandId, 'Success'));
    const [, payload = ''] = /^Restore with: .*--payload '([^']*)'/m.exec(stage.published[0]!.text) ?? [];
    expect(await stage.restore(JSON.parse(payload))).toMatchObject({
      database: 'hostmaster_prod_restored',
      planId: expect.stringContaining('plan-'),
    });
  });

  it('wins over what SSM says, which is told as a doubt', async () => {
    const { runId, commandId } = await endedRun('ExecutionTimedOut');
    await stage.putResult(runId);
    await stage.reportRun(statusEvent(commandId, 'TimedOut'));
    expect(stage.published[0]!.text).toContain('Backup SUCCESS');
    expect(stage.published[0]!.text).toContain('⚠️ The host’s result says success, and SSM afterwards');
  });

  it.each([
    ['is no JSON', '{"runId":'],
    ['is of another run', JSON.stringify(goodResult('20260117T020000Z-000000000000'))],
    ['is of another host', { instanceId: 'i-0000000000000000f' }],
    ['is of another series', { app: 'billing' }],
    ['does not know what only the run’s own host knows', { nonce: '00112233445566778899aabbccddeeff' }],
    ['knows nothing of it at all', { nonce: undefined as never }],
    ['lacks what it must have', { exitStatus: undefined as never }],
    ['is five megabytes long', { warnings: ['x'.repeat(5_000_000)] }],
  ])('does not count when it %s', async (_, written) => {
    const { runId, commandId } = await endedRun('Failed');
    const nonce = String((await stage.readRun(runId, 'request'))!['nonce']);
    const text =
      typeof written === 'string'
        ? written
        : JSON.stringify({ ...goodResult(runId, { nonce }), ...(written as object) });
    const key = `database/runs/2026/01/17/${runId}/result.json`;
    await putText(key, text);
    await stage.reportRun(statusEvent(commandId, 'Failed'));
    expect(stage.published).toHaveLength(1);
    expect(stage.published[0]!.text).toContain(
      'The run left no result: the command failed on the host (Failed)',
    );
    expect(stage.published[0]!.text).toContain(`⚠️ s3://state/${key} was not believed: it `);
  });

  async function putText(key: string, text: string): Promise<void> {
    await stage.s3Client.send(new PutObjectCommand({ Bucket: 'state', Key: key, Body: text }));
  }
});

describe('a run whose request cannot be read', () => {
  const WHOLE_STORY = /What the run was asked for cannot be read by this version/;

  async function rewriteRequest(runId: string, body: string): Promise<void> {
    const key = `database/runs/2026/01/17/${runId}/request.json`;
    await stage.s3Client.send(new PutObjectCommand({ Bucket: 'state', Key: key, Body: Buffer.from(body) }));
  }

  it.each([
    ['is no JSON', '{"runId":', 'unknown'],
    ['is empty', '', 'unknown'],
    ['is something else', '[7]', 'unknown'],
    ['has a folder that no host takes', { series: { backupDir: '/a/../b' } }, 'HostMaster'],
    ['is of a newer version', { schemaVersion: 2 }, 'HostMaster'],
  ])('because it %s leads to one message all the same', async (_, change, app) => {
    const { runId, commandId } = await endedRun('Failed', 'The request cannot be understood');
    const request = (await stage.readRun(runId, 'request')) as { series: object };
    const changed =
      typeof change === 'string'
        ? change
        : JSON.stringify({
            ...request,
            ...change,
            series: { ...request.series, ...('series' in change && change.series) },
          });
    await rewriteRequest(runId, changed);
    for (let times = 0; times < 2; times += 1) await stage.reportRun(statusEvent(commandId, 'Failed'));
    await stage.watch();
    expect(stage.published).toHaveLength(1);
    const { subject, text } = stage.published[0]!;
    expect(subject).toBe(`${app} DB Backup FAILED`);
    expect(text).toMatch(WHOLE_STORY);
    expect(text).toContain(
      'The run left no result: the command failed on the host (Failed). Its last output:',
    );
    expect(text).toContain(`Run: ${runId}`);
  });

  it('is told as a success when the host has understood it', async () => {
    const { runId, commandId } = await endedRun('Success');
    await rewriteRequest(
      runId,
      JSON.stringify({ ...(await stage.readRun(runId, 'request')), schemaVersion: 2 }),
    );
    await stage.putResult(runId);
    await stage.reportRun(statusEvent(commandId, 'Success'));
    expect(stage.published).toHaveLength(1);
    expect(stage.published[0]!.text).toContain('HostMaster DB Backup SUCCESS');
    expect(stage.published[0]!.text).toMatch(WHOLE_STORY);
  });
});

describe('a run without a result', () => {
  it.each(TERMINAL_STATUSES)(
    'that SSM calls %s leads to one message that says what to do',
    async (status) => {
      const { runId, commandId } = await endedRun(status);
      expect(await stage.reportRun(statusEvent(commandId, eventStatus(status)))).toEqual({
        runId,
        action: 'published',
      });
      expect(stage.published).toHaveLength(1);
      const { subject, text } = stage.published[0]!;
      expect(subject).toBe('HostMaster DB Backup FAILED');
      expect(text).toContain(`The run left no result: `);
      expect(text).toContain(`(${status})`);
      expect(text).toMatch(/What to do: .{20}/);
      expect(text).toMatch(/Error: (HOST_UNREACHABLE|RUN_ENDED|RUN_LOST)\n/);
      const unreachable = text.includes('Error: HOST_UNREACHABLE') ? 1 : 0;
      expect(stage.metrics()).toEqual([{ RunFailed: 1, RunSucceeded: 0, HostUnreachable: unreachable }]);
      stage.passMinutes(60);
      expect(await stage.reportRun(statusEvent(commandId, eventStatus(status)))).toMatchObject({
        action: 'reported before',
      });
      expect(stage.published).toHaveLength(1);
    },
  );

  it('is told by the verdict that stands in the command’s output', async () => {
    const { runId, commandId } = await endedRun('Failed');
    const verdict = { runId, succeeded: false, exitStatus: 5, code: 'S3_UNAVAILABLE', message: 'S3 is away' };
    stage.ssm.commands[0]!.stdout = `${formatVerdictLine(verdict)}\nlog\n`;
    await stage.reportRun(statusEvent(commandId, 'Failed'));
    expect(stage.published[0]!.text).toMatch(/❌ S3 is away\n[^]*Error: S3_UNAVAILABLE/);
  });

  it('is told as a success that only the host vouches for when its verdict says so', async () => {
    const { runId, commandId } = await endedRun('Success');
    const verdict = {
      runId,
      succeeded: true,
      exitStatus: 0,
      code: null,
      message: 'hostmaster_db_20260117_020010',
    };
    stage.ssm.commands[0]!.stdout = formatVerdictLine(verdict);
    await stage.reportRun(statusEvent(commandId, 'Success'));
    expect(stage.published[0]!.text).toContain('✅ Backup completed successfully');
    expect(stage.published[0]!.text).toContain('⚠️ Its result did not come as far as S3');
  });

  it('shows the end of the output, on its lines and without control characters', async () => {
    const { commandId } = await endedRun('Failed', 'fetching\n\u001B[31mhash is wrong\u0007\n');
    await stage.reportRun(statusEvent(commandId, 'Failed'));
    expect(stage.published[0]!.text).toContain('Its last output:\nfetching\n[31mhash is wrong\nWhat to do:');
  });

  it('says nothing for a repeated command that the host refused: the first one’s end tells', async () => {
    const { runId, commandId } = await endedRun('Failed');
    const verdict = {
      runId,
      succeeded: false,
      exitStatus: 3,
      code: 'RUN_REPEATED',
      message: 'taken on before',
    };
    stage.ssm.commands[0]!.stdout = formatVerdictLine(verdict);
    expect(await stage.reportRun(statusEvent(commandId, 'Failed'))).toMatchObject({ action: 'ignored' });
    expect(stage.published).toEqual([]);
  });
});

describe('events', () => {
  it('that are repeated, out of order or at the same time lead to one message', async () => {
    const { runId, commandId } = await endedRun('Success');
    await stage.putResult(runId);
    const events = ['Success', 'InProgress', 'Success', 'Pending', 'Failed', 'Success', 'Delayed'];
    const answers = await Promise.all(
      events.map((status) => stage.reportRun(statusEvent(commandId, status))),
    );
    expect(stage.published).toHaveLength(1);
    expect(answers.filter(({ action }) => action === 'published')).toHaveLength(1);
    expect(answers.filter(({ action }) => action === 'ignored')).toHaveLength(3);
    stage.passMinutes(10);
    await Promise.all(events.map((status) => stage.reportRun(statusEvent(commandId, status))));
    expect(stage.published).toHaveLength(1);
    expect(stage.metrics()).toHaveLength(1);
  });

  it('of others are left alone', async () => {
    const { commandId, runId } = await endedRun('Success');
    await stage.putResult(runId);
    const others = [
      stage.ssm.addCommand({ instanceId: HOST, comment: 'patching', statusDetails: 'Success' }).id,
      stage.ssm.addCommand({ instanceId: HOST, comment: '', statusDetails: 'Failed' }).id,
      stage.ssm.addCommand({
        instanceId: HOST,
        comment: runId,
        document: 'AWS-RunShellScript',
        statusDetails: 'Failed',
      }).id,
      // Of no request of ours, and our run's id under another command.
      stage.ssm.addCommand({
        instanceId: HOST,
        comment: '20260117T020000Z-000000000000',
        statusDetails: 'Failed',
      }).id,
      stage.ssm.addCommand({ instanceId: HOST, comment: runId, statusDetails: 'Failed' }).id,
    ];
    for (const id of others) {
      expect(await stage.reportRun(statusEvent(id, 'Failed'))).toMatchObject({ action: 'ignored' });
    }
    const elsewhere = stage.ssm.addCommand({
      instanceId: 'i-0000000000000000f',
      comment: runId,
      statusDetails: 'Failed',
    });
    expect(await stage.reportRun(statusEvent(elsewhere.id, 'Failed', 'i-0000000000000000f'))).toMatchObject({
      action: 'ignored',
    });
    expect(
      await stage.reportRun({ 'detail-type': 'EC2 Instance State-change Notification', detail: {} }),
    ).toMatchObject({
      action: 'ignored',
    });
    expect(await stage.reportRun('nonsense')).toMatchObject({ action: 'ignored' });
    expect(stage.published).toEqual([]);
    await stage.reportRun(statusEvent(commandId, 'Success'));
    expect(stage.published).toHaveLength(1);
  });

  it('that come before SSM’s API knows of them are waited out', async () => {
    const { runId, commandId } = await endedRun('InProgress');
    await stage.putResult(runId);
    const notYet = { status: 400, name: 'InvalidCommandId' };
    stage.ssm.faults.set('ListCommandInvocations', [notYet, notYet]);
    expect(await stage.reportRun(statusEvent(commandId, 'Success'))).toMatchObject({ action: 'published' });
    // Never known: thrown, so that the event comes again.
    await expect(stage.reportRun(statusEvent('no-such-command', 'Success'))).rejects.toThrow(
      /SSM knows no invocation of no-such-command/,
    );
  });
});

describe('an invocation', () => {
  it('is found by its host among the many of a command that was sent to several', async () => {
    const { runId, commandId } = await endedRun('Success');
    const own = stage.ssm.commands.pop()!;
    for (const digit of [1, 2, 3, 4])
      stage.ssm.addCommand({ instanceId: `i-0000000000000000${digit}`, comment: 'x', id: commandId });
    stage.ssm.commands.push(own);
    await stage.putResult(runId);
    expect(await stage.reportRun(statusEvent(commandId, 'Success'))).toEqual({ runId, action: 'published' });
  });

  it('is asked for its output by the step that runs the agent, and for nothing else', async () => {
    const { commandId } = await endedRun('Failed', 'the end');
    await stage.reportRun(statusEvent(commandId, 'Failed'));
    expect(stage.ssm.calls.slice(-2)).toEqual(['ListCommandInvocations', 'GetCommandInvocation']);
    expect(stage.published[0]!.text).toContain('Its last output:\nthe end');
  });
});

describe('of two commands that were sent for one run at the same moment', () => {
  /** The host obeyed the first; the second, which it refused, is the one that was written down. */
  async function twoCommands(): Promise<{ runId: string; obeyed: string; refused: string }> {
    const { runId, commandId: refused } = await endedRun('Failed');
    const verdict = { runId, succeeded: false, exitStatus: 3, code: 'RUN_REPEATED', message: 'taken on' };
    stage.ssm.commands[0]!.stdout = formatVerdictLine(verdict);
    const { id: obeyed } = stage.ssm.addCommand({
      instanceId: HOST,
      comment: runId,
      statusDetails: 'Success',
    });
    return { runId, obeyed, refused };
  }

  it('the one that the host obeyed tells of the run, in either order', async () => {
    const { runId, obeyed, refused } = await twoCommands();
    // While the first is still at work.
    expect(await stage.reportRun(statusEvent(refused, 'Failed'))).toMatchObject({ action: 'ignored' });
    await stage.putResult(runId, { commandId: obeyed });
    expect(await stage.reportRun(statusEvent(refused, 'Failed'))).toMatchObject({
      action: 'ignored',
      reason: `the run's command is ${obeyed}`,
    });
    expect(await stage.reportRun(statusEvent(obeyed, 'Success'))).toEqual({ runId, action: 'published' });
    expect(stage.published).toHaveLength(1);
    expect(stage.published[0]!.text).toContain('HostMaster DB Backup SUCCESS');
    expect(stage.published[0]!.text).not.toContain('⚠️');
    expect(stage.published[0]!.text).toContain(`Command: ${obeyed}`);
  });

  it('the one that the host obeyed is believed by its verdict where there is no result', async () => {
    const { runId, obeyed } = await twoCommands();
    const verdict = { runId, succeeded: true, exitStatus: 0, code: null, message: 'done' };
    stage.ssm.commands[1]!.stdout = formatVerdictLine(verdict);
    expect(await stage.reportRun(statusEvent(obeyed, 'Success'))).toEqual({ runId, action: 'published' });
  });
});

describe('a message that could not be published', () => {
  it('is published by the same invocation’s retry, without counting the run twice', async () => {
    const { runId, commandId } = await endedRun('Success');
    await stage.putResult(runId);
    stage.snsFaults.push(500);
    const context = stage.context();
    await expect(stage.reportRun(statusEvent(commandId, 'Success'), context)).rejects.toMatchObject({
      code: 'UNDELIVERED',
    });
    stage.passMinutes(1);
    // Another event's invocation leaves it to the one that has claimed it …
    expect(await stage.reportRun(statusEvent(commandId, 'Success'))).toMatchObject({
      action: 'reported before',
    });
    expect(await stage.reportRun(statusEvent(commandId, 'Success'), context)).toMatchObject({
      action: 'published again',
    });
    expect(stage.published).toHaveLength(1);
    expect(stage.metrics()).toHaveLength(1);
  });

  it('is published by whoever comes by once its publisher must be dead', async () => {
    const { runId, commandId } = await endedRun('Success');
    await stage.putResult(runId);
    stage.snsFaults.push(500);
    await expect(stage.reportRun(statusEvent(commandId, 'Success'))).rejects.toThrow();
    stage.passMinutes(6);
    expect(await stage.reportRun(statusEvent(commandId, 'Success'))).toMatchObject({
      action: 'published again',
    });
    expect(await stage.reportRun(statusEvent(commandId, 'Success'))).toMatchObject({
      action: 'reported before',
    });
    expect(stage.published).toHaveLength(1);
  });
});
