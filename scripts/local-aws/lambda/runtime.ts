/**
 * What runs inside a function's process: loads the handler, takes invocations over the channel to its parent, answers.
 * Started by function-process.ts with nothing but the function's own environment.
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';

export interface Invocation {
  readonly requestId: string;
  readonly event: unknown;
  readonly functionName: string;
  readonly functionArn: string;
  readonly memoryMegabytes: number;
  readonly deadline: number;
}

export type Answer =
  | { readonly requestId: string; readonly ok: true; readonly result: string }
  | { readonly requestId: string; readonly ok: false; readonly error: FunctionError };

export interface FunctionError {
  readonly errorType: string;
  readonly errorMessage: string;
  readonly trace: readonly string[];
}

type Handler = (event: unknown, context: Record<string, unknown>) => unknown;

const [task = '', handlerName = ''] = process.argv.slice(2);
const logFormat = process.argv[4] ?? 'Text';
let requestId = '';

for (const level of ['debug', 'info', 'warn', 'error', 'log'] as const) {
  console[level] = (...values: unknown[]) => {
    process.stdout.write(`${formatLine(level === 'log' ? 'info' : level, values)}\n`);
  };
}

/** Lambda puts time, request and level before a line of text; a line of JSON in JSON format passes as it is. */
function formatLine(level: string, values: readonly unknown[]): string {
  const text = values.map((value) => (typeof value === 'string' ? value : JSON.stringify(value))).join(' ');
  const time = new Date().toISOString();
  if (logFormat === 'Text')
    return `${time}\t${requestId}\t${level.toUpperCase()}\t${text.replaceAll('\n', '\r')}`;
  if (text.startsWith('{')) return text;
  return JSON.stringify({ timestamp: time, level: level.toUpperCase(), requestId, message: text });
}

async function loadHandler(): Promise<Handler> {
  const [file = '', name = ''] = handlerName.split('.');
  const loaded = (await import(pathToFileURL(path.join(task, `${file}.mjs`)).href)) as Record<
    string,
    unknown
  >;
  const handler = loaded[name];
  if (typeof handler !== 'function') throw new Error(`${handlerName} is undefined or not exported`);
  return handler as Handler;
}

async function answer(handler: Handler, invocation: Invocation): Promise<Answer> {
  requestId = invocation.requestId;
  try {
    const result: unknown = await handler(invocation.event, {
      awsRequestId: requestId,
      functionName: invocation.functionName,
      functionVersion: '$LATEST',
      invokedFunctionArn: invocation.functionArn,
      memoryLimitInMB: String(invocation.memoryMegabytes),
      logGroupName: process.env['AWS_LAMBDA_LOG_GROUP_NAME'],
      logStreamName: process.env['AWS_LAMBDA_LOG_STREAM_NAME'],
      getRemainingTimeInMillis: () => invocation.deadline - Date.now(),
    });
    return { requestId, ok: true, result: JSON.stringify(result ?? null) };
  } catch (error) {
    return { requestId, ok: false, error: describeError(error) };
  }
}

function describeError(error: unknown): FunctionError {
  const thrown = error instanceof Error ? error : new Error(String(error));
  return { errorType: thrown.name, errorMessage: thrown.message, trace: (thrown.stack ?? '').split('\n') };
}

const loading = loadHandler();
// Answered with the first invocation; until then it must not end the process.
loading.catch(() => undefined);
process.on('message', (message) => {
  const invocation = message as Invocation;
  void loading
    .then((handler) => answer(handler, invocation))
    .catch((error: unknown): Answer => ({
      requestId: invocation.requestId,
      ok: false,
      error: describeError(error),
    }))
    .then((reply) => process.send?.(reply));
});
process.on('disconnect', () => process.exit(0));
