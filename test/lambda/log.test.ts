import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readDeployment, requireVariable } from '../../lambda/environment.ts';
import { openLog } from '../../lambda/log.ts';

function record(): { lines: Record<string, unknown>[]; log: ReturnType<typeof openLog> } {
  const lines: Record<string, unknown>[] = [];
  const now = (): Date => new Date('2026-01-17T02:00:00Z');
  const write = (line: string): void => void lines.push(JSON.parse(line) as Record<string, unknown>);
  return { lines, log: openLog({ deployment: 'Lifeboat', now, write }) };
}

describe('the Lambdas’ log', () => {
  it('is one JSON object a line', () => {
    const { lines, log } = record();
    log.info('Sent', { runId: 'r' });
    log.error('Not\nstarted');
    expect(lines).toEqual([
      { time: '2026-01-17T02:00:00.000Z', level: 'info', message: 'Sent', runId: 'r' },
      { time: '2026-01-17T02:00:00.000Z', level: 'error', message: 'Not\nstarted' },
    ]);
  });

  it('carries metrics in CloudWatch’s embedded format', () => {
    const { lines, log } = record();
    log.metrics('shop', { BackupAgeSeconds: 90, BackupBytes: 5, BackupSizeRatio: 0.5, RunFailed: 1 });
    expect(lines).toEqual([
      {
        _aws: {
          Timestamp: Date.parse('2026-01-17T02:00:00Z'),
          CloudWatchMetrics: [
            {
              Namespace: 'Lifeboat',
              Dimensions: [['Deployment', 'App']],
              Metrics: [
                { Name: 'BackupAgeSeconds', Unit: 'Seconds' },
                { Name: 'BackupBytes', Unit: 'Bytes' },
                { Name: 'BackupSizeRatio', Unit: 'None' },
                { Name: 'RunFailed', Unit: 'Count' },
              ],
            },
          ],
        },
        Deployment: 'Lifeboat',
        App: 'shop',
        BackupAgeSeconds: 90,
        BackupBytes: 5,
        BackupSizeRatio: 0.5,
        RunFailed: 1,
      },
    ]);
  });

  it('measures a function by its name', () => {
    const { lines, log } = record();
    log.functionMetrics('start-run', { FunctionFailed: 1 });
    expect(lines).toEqual([
      expect.objectContaining({ Deployment: 'Lifeboat', Function: 'start-run', FunctionFailed: 1 }),
    ]);
    expect(JSON.stringify(lines)).toContain('[["Deployment","Function"]]');
  });

  it('gives CloudWatch no more values of a metric a line than it takes', () => {
    const { lines, log } = record();
    log.metrics('shop', {
      BackupAgeSeconds: Array.from({ length: 201 }, (_, index) => index),
      BackupBytes: 1,
    });
    const ages = lines.map((line) => line['BackupAgeSeconds'] as number | number[]);
    expect(ages.map((value) => (Array.isArray(value) ? value.length : value))).toEqual([100, 100, 200]);
    expect(lines.map((line) => line['BackupBytes'])).toEqual([1, undefined, undefined]);
    log.metrics('shop', {});
    expect(lines).toHaveLength(3);
  });
});

describe('the Lambdas’ surroundings', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lifeboat-deployment-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  it('say which variable a construct forgot', () => {
    expect(() => requireVariable('topicArn')).toThrow(
      'The function’s variable LIFEBOAT_TOPIC_ARN is not set',
    );
  });

  it('hold the deployment’s configuration beside the bundle, or an error that says what is wrong with it', () => {
    expect(() => readDeployment(folder)).toThrow(/deployment\.json cannot be read/);
    writeFileSync(join(folder, 'deployment.json'), '{"series":[]}');
    expect(() => readDeployment(folder)).toThrow(/deployment\.json is wrong:\n- series/);
    const series = [{ database: 'x', host: { instanceId: 'i-0123456789abcdef0' } }];
    writeFileSync(join(folder, 'deployment.json'), JSON.stringify({ series }));
    expect(readDeployment(folder)).toMatchObject({ name: 'Lifeboat', series: [{ app: 'hostmaster' }] });
  });
});
