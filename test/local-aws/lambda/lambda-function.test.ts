import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { MetricStore } from '../../../scripts/local-aws/cloudwatch/metric-store.ts';
import { LambdaFunction } from '../../../scripts/local-aws/lambda/lambda-function.ts';
import { Queue } from '../../../scripts/local-aws/sqs/queue.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-lambda-'));
const started: LambdaFunction[] = [];
let count = 0;

afterAll(() => {
  for (const each of started) each.end();
  rmSync(folder, { recursive: true, force: true });
});

interface Made {
  readonly made: LambdaFunction;
  readonly metrics: MetricStore;
  readonly failures: Queue;
  readonly defects: string[];
}

/** @param body of the handler: `event` and `context` are in scope, `calls` counts in the process */
function make(body: string, settings: { timeoutSeconds?: number; maximumRetries?: number } = {}): Made {
  count += 1;
  const codeFolder = path.join(folder, String(count));
  mkdirSync(codeFolder);
  const code = `let calls = 0; export const handler = async (event, context) => { calls += 1; ${body} };`;
  writeFileSync(path.join(codeFolder, 'index.mjs'), code);
  const metrics = new MetricStore();
  const failures = new Queue('failures', 'arn:aws:sqs:eu-west-1:111122223333:failures');
  const defects: string[] = [];
  const made = new LambdaFunction(
    {
      logicalId: 'FunctionsStartRunFunction2091826B',
      name: 'start-run',
      arn: 'arn:aws:lambda:eu-west-1:111122223333:function:start-run',
      codeFolder,
      handler: 'index.handler',
      timeoutSeconds: settings.timeoutSeconds ?? 120,
      memoryMegabytes: 128,
      logFormat: 'Text',
      environment: { PATH: '/usr/bin:/bin', GREETING: 'hello' },
    },
    { maximumRetries: settings.maximumRetries ?? 2, onFailure: failures },
    {
      metrics,
      retryDelayMilliseconds: 1,
      check: () => undefined,
      logGroupArn: 'arn:aws:logs:eu-west-1:111122223333:log-group:start-run',
      onInvocation: () => undefined,
      onDefect: (defect) => defects.push(defect),
    },
  );
  started.push(made);
  return { made, metrics, failures, defects };
}

describe('LambdaFunction', () => {
  it('runs the handler with the function’s own environment and nothing of ours', async () => {
    const { made } = make('return Object.keys(process.env).sort();');
    expect(await made.invoke({})).toMatchObject({ ok: true, result: ['GREETING', 'PATH'] });
  });

  it('hands over the event and the context', async () => {
    const { made } = make(
      'return [event, context.functionName, context.getRemainingTimeInMillis() > 80_000];',
    );
    expect(await made.invoke({ a: 1 })).toMatchObject({ result: [{ a: 1 }, 'start-run', true] });
  });

  it('keeps a process for the next invocation, and starts another for one at the same time', async () => {
    const { made } = make('await new Promise((r) => setTimeout(r, 50)); return [process.pid, calls];');
    const pid = async (): Promise<unknown[]> => {
      const outcome = await made.invoke({});
      return outcome.ok ? (outcome.result as unknown[]) : [];
    };
    const [first, second] = await Promise.all([pid(), pid()]);
    expect(first?.[0]).not.toBe(second?.[0]);
    expect([first?.[0], second?.[0]]).toContain((await pid())[0]);
  });

  it('answers a thrown error by its name and message, and counts it', async () => {
    const { made, metrics } = make("throw new TypeError('no such thing');");
    expect(await made.invoke({})).toMatchObject({
      ok: false,
      error: { errorType: 'TypeError', errorMessage: 'no such thing' },
    });
    expect(metrics.points.find(({ name }) => name === 'Errors')).toMatchObject({
      namespace: 'AWS/Lambda',
      value: 1,
    });
  });

  it('ends an invocation that takes longer than the function may', async () => {
    const { made } = make('await new Promise(() => setInterval(() => {}, 1000));', { timeoutSeconds: 1 });
    expect(await made.invoke({})).toMatchObject({ ok: false, error: { errorType: 'Sandbox.Timedout' } });
  });

  it('answers for a process that ended under it, and for code that cannot be loaded', async () => {
    expect(await make('process.exit(3);').made.invoke({})).toMatchObject({
      error: { errorType: 'Runtime.ExitError' },
    });
    expect(await make('const const;').made.invoke({})).toMatchObject({ ok: false });
  });

  it('tries an asynchronous invocation three times in all, then keeps it', async () => {
    const { made, failures, metrics } = make("throw new Error('never');");
    await made.invokeAsynchronously({ night: 1 });
    expect(metrics.points.filter(({ name }) => name === 'Invocations')).toHaveLength(3);
    expect(failures.messages.map(({ body }) => JSON.parse(body) as unknown)).toMatchObject([
      { requestPayload: { night: 1 } },
    ]);
  });

  it('keeps nothing that succeeded in the end', async () => {
    const { made, failures } = make("if (calls < 3) throw new Error('not yet'); return calls;");
    expect(await made.invokeAsynchronously({})).toMatchObject({ ok: true, result: 3 });
    expect(failures.messages).toEqual([]);
  });

  it('writes its log, and takes the metrics out of it', async () => {
    const record =
      "{ _aws: { Timestamp: 1, CloudWatchMetrics: [{ Namespace: 'N', Dimensions: [[]], Metrics: [{ Name: 'M' }] }] }, M: 7 }";
    const { made, metrics } = make(
      `console.log('plain', { a: 1 }); process.stdout.write(JSON.stringify(${record}) + '\\n');`,
    );
    await made.invoke({});
    while (made.log.length < 2) await new Promise((resolve) => setImmediate(resolve));
    expect(made.log[0]).toMatch(/^\d{4}-.*Z\t[0-9a-f-]{36}\tINFO\tplain \{"a":1\}$/);
    expect(metrics.points).toContainEqual(expect.objectContaining({ namespace: 'N', name: 'M', value: 7 }));
  });
});
