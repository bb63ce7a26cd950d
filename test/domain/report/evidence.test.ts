import { consoleOutputUrl } from '../../../lib/domain/report/console-links.ts';
import { judge, type RunEvidence } from '../../../lib/domain/report/evidence.ts';
import { isAbandoned, parseReportRecord } from '../../../lib/domain/report/report-record.ts';
import { reportRun } from '../../../lib/domain/report/run-report.ts';
import { withStackCommands } from '../../../lib/domain/report/stack-commands.ts';
import { ERROR_CODES } from '../../../lib/domain/errors.ts';
import type { RunRequest } from '../../../lib/domain/run/request.ts';
import { TERMINAL_STATUSES } from '../../../lib/domain/run/ssm-status.ts';
import { makeRequest } from '../../../lib/domain/start/request.ts';
import { parseDeploymentConfig } from '../../../lib/domain/deployment/config.ts';
import { goodResult, NONCE } from '../../lambda/stage.ts';

const RUN_ID = '20260117T020000Z-0123456789ab';
const NOW = new Date('2026-01-17T02:10:00Z');
const config = parseDeploymentConfig(
  { series: [{ database: 'hostmaster_prod', host: { instanceId: 'i-0123456789abcdef0' } }] },
  'test',
);

function requestOf(operation: RunRequest['operation']): RunRequest {
  return makeRequest({
    config,
    target: { series: config.series[0]!, instanceId: 'i-0123456789abcdef0' },
    runId: RUN_ID,
    operation,
    trigger: 'manual',
    now: new Date('2026-01-17T02:00:00Z'),
    bucket: 'backups',
    stateBucket: 'state',
    region: 'eu-west-1',
    nonce: NONCE,
    ...(operation === 'restore' && {
      restore: { source: 'latest', database: 'hostmaster_staging', replace: false, globals: false },
    }),
  });
}

function tell(operation: RunRequest['operation'], evidence: RunEvidence): string {
  const facts = {
    now: NOW,
    commandId: undefined,
    dashboardUrl: undefined,
    lastGood: undefined,
    doubts: [],
    functions: { startRun: undefined, restore: undefined },
  };
  const { subject, body } = reportRun(requestOf(operation), evidence, facts).message;
  return `${subject}\n${body}`;
}

describe('a run without a result', () => {
  it.each(TERMINAL_STATUSES)('that ended as %s has failed, with a code that the runbook knows', (status) => {
    const { failure } = judge({ operation: 'backup' }, { kind: 'status', status, output: '' });
    expect(ERROR_CODES).toContain(failure!.code);
  });

  it('of a restore says whether the target can have been touched', () => {
    const lost = tell('restore', { kind: 'status', status: 'ExecutionTimedOut', output: '' });
    expect(lost).toContain('⚠️ hostmaster_staging may be incomplete');
    const never = tell('restore', { kind: 'status', status: 'Undeliverable', output: '' });
    expect(never).toContain('Safe: hostmaster_staging is as it was before');
    const refused = { name: 'AccessDeniedException', message: 'not authorized' };
    expect(tell('restore', { kind: 'refused', refused })).toContain('Safe: hostmaster_staging');
    // Silence proves nothing.
    for (const commandSent of [true, false])
      expect(tell('restore', { kind: 'lost', commandSent })).toContain(
        '⚠️ hostmaster_staging may be incomplete',
      );
  });
});

describe('a result', () => {
  it('that tells of neither failure nor outcome is no success', () => {
    const result = goodResult(RUN_ID, { outcome: null });
    expect(tell('backup', { kind: 'result', result })).toContain('Backup FAILED');
    const report = goodResult(RUN_ID, { outcome: { kind: 'report', lines: [], json: {} } });
    expect(tell('backup', { kind: 'result', result: report })).toContain('Backup FAILED');
    expect(tell('restore', { kind: 'result', result: report })).toContain('Restore FAILED');
  });

  it('of another operation is told with its lines, whether it found something wrong or not', () => {
    const outcome = { kind: 'report' as const, lines: ['ID      STATE', '  one   \u001B[31mgood'], json: {} };
    expect(
      tell('verify', { kind: 'result', result: goodResult(RUN_ID, { operation: 'verify', outcome }) }),
    ).toMatch(
      /^🔄 HostMaster DB Verify SUCCESS\n✅ Verify completed successfully\n\nID {6}STATE\n {2}one {4}\[31mgood\n\nDatabase:/,
    );
    const failure = { code: 'ATTENTION', message: 'too old', hint: 'Run: lifeboat backup' };
    const text = tell('status', {
      kind: 'result',
      result: goodResult(RUN_ID, { operation: 'status', outcome, failure }),
    });
    expect(text).toMatch(/^🔄 HostMaster DB Status FAILED\n❌ too old\n/);
    expect(text).toContain('ID      STATE');
  });

  it('as long as a host likes makes a message that SNS and Slack take', () => {
    const outcome = {
      kind: 'report' as const,
      lines: Array.from({ length: 5000 }, () => 'x'.repeat(200)),
      json: {},
    };
    const text = tell('list', { kind: 'result', result: goodResult(RUN_ID, { operation: 'list', outcome }) });
    expect(Buffer.byteLength(text)).toBeLessThan(200_000);
    expect(text).toMatch(/more characters/);
  });
});

describe('a claimed message', () => {
  const record = {
    runId: RUN_ID,
    claimedAt: NOW.toISOString(),
    claimedBy: 'a',
    succeeded: true,
    subject: 's',
    body: 'b',
  };

  it('is published again by the invocation that claimed it, and by others when that must be dead', () => {
    expect(isAbandoned(record, { now: NOW, requestId: 'a' })).toBe(true);
    expect(isAbandoned(record, { now: new Date(NOW.getTime() + 300_000), requestId: 'b' })).toBe(false);
    expect(isAbandoned(record, { now: new Date(NOW.getTime() + 300_001), requestId: 'b' })).toBe(true);
  });

  it('that cannot be read is none', () => {
    expect(parseReportRecord(JSON.stringify(record))).toEqual(record);
    for (const text of ['', '{', '{}', 'null']) expect(parseReportRecord(text)).toBeUndefined();
  });
});

describe('a command in a message', () => {
  const request = requestOf('backup');
  const functions = { startRun: 'Start', restore: 'Plan' };
  const told = (text: string, database = 'hostmaster_prod'): string =>
    withStackCommands(text, { ...request, series: { ...request.series, database } }, functions);
  const invoke = (name: string, payload: object): string =>
    `aws lambda invoke --function-name ${name} --cli-binary-format raw-in-base64-out --payload '${JSON.stringify(payload)}' /dev/stdout`;
  const where = { app: 'hostmaster', instanceId: 'i-0123456789abcdef0' };
  const ID = 'hostmaster_db_20260117_020000';

  it.each(['backup', 'verify', 'status', 'list', 'retention'])(
    'of the host (%s) becomes what does the same from anywhere',
    (operation) => {
      const shown = invoke('Start', { operation, ...where });
      for (const [before, after] of [
        ['Run: ', ''],
        ['Run: ', '\nError: X'],
        ['do ', '; then wait'],
        ['(', ')'],
      ])
        expect(told(`${before}lifeboat ${operation}${after}`)).toBe(`${before}${shown}${after}`);
    },
  );

  it('with a backup’s id keeps it', () => {
    expect(told(`lifeboat verify ${ID}`)).toBe(
      invoke('Start', { operation: 'verify', ...where, backupId: ID }),
    );
    const plan = { action: 'plan', ...where, source: ID, database: 'hostmaster_prod_restored' };
    expect(told(`lifeboat restore ${ID}`)).toBe(invoke('Plan', plan));
    expect(told('lifeboat restore')).toBe(invoke('Plan', { ...plan, source: 'latest' }));
  });

  it('never carries a name that a shell would misread', () => {
    for (const database of [`it's`, '$(id)', 'a b', 'x'.repeat(63)])
      expect(told(`lifeboat restore ${ID}`, database)).toContain('"database":"restored"}');
  });

  it.each([
    'lifeboat backup --dry-run',
    'lifeboat restore <file>',
    'lifeboat list-things',
    'the lifeboat',
    'lifeboat install',
    'lifeboat status on the host',
    `lifeboat restore ${ID} --replace`,
  ])('that only somebody at the host can mean stays: %s', (text) => {
    expect(told(text)).toBe(text);
  });

  it('names the function in words where its name is not known', () => {
    const text = withStackCommands('Run: lifeboat list', request, {
      startRun: undefined,
      restore: undefined,
    });
    expect(text).toBe(
      'Run: invoke the start-run function with {"operation":"list","app":"hostmaster","instanceId":"i-0123456789abcdef0"}',
    );
  });
});

describe('links to the console', () => {
  it.each([
    [
      'eu-west-1',
      'https://eu-west-1.console.aws.amazon.com/systems-manager/run-command/c/i-1?region=eu-west-1',
    ],
    [
      'cn-north-1',
      'https://cn-north-1.console.amazonaws.cn/systems-manager/run-command/c/i-1?region=cn-north-1',
    ],
    [
      'us-gov-west-1',
      'https://us-gov-west-1.console.amazonaws-us-gov.com/systems-manager/run-command/c/i-1?region=us-gov-west-1',
    ],
  ])('of %s lead to its partition', (region, url) => {
    expect(consoleOutputUrl(region, 'c', 'i-1')).toBe(url);
  });
});
