import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Answer, FunctionError, Invocation } from './runtime.ts';

const RUNTIME = path.join(import.meta.dirname, 'runtime.ts');

/** A function of the templates, resolved. */
export interface FunctionSpecification {
  readonly logicalId: string;
  readonly name: string;
  readonly arn: string;
  /** The asset's folder. */
  readonly codeFolder: string;
  readonly handler: string;
  readonly timeoutSeconds: number;
  readonly memoryMegabytes: number;
  readonly logFormat: 'Text' | 'JSON';
  readonly environment: Readonly<Record<string, string>>;
}

export type Outcome =
  { readonly ok: true; readonly result: unknown } | { readonly ok: false; readonly error: FunctionError };

/**
 * One execution environment of a function: a Node of its own that keeps its modules between invocations and takes one at a
 * time, as Lambda's do.
 */
export class FunctionProcess {
  readonly #specification: FunctionSpecification;
  readonly #child: ChildProcess;
  isFree = true;
  hasEnded = false;

  constructor(specification: FunctionSpecification, onLine: (line: string) => void) {
    const { codeFolder, handler, memoryMegabytes, environment, logFormat } = specification;
    this.#specification = specification;
    this.#child = spawn(
      process.execPath,
      [`--max-old-space-size=${memoryMegabytes}`, RUNTIME, codeFolder, handler, logFormat],
      { cwd: codeFolder, env: { ...environment }, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] },
    );
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream) createInterface({ input: stream, crlfDelay: Infinity }).on('line', onLine);
    }
    this.#child.once('exit', () => (this.hasEnded = true));
  }

  async invoke(event: unknown): Promise<Outcome> {
    const { timeoutSeconds, name, arn, memoryMegabytes } = this.#specification;
    const invocation: Invocation = {
      requestId: randomUUID(),
      event,
      functionName: name,
      functionArn: arn,
      memoryMegabytes,
      deadline: Date.now() + timeoutSeconds * 1000,
    };
    this.isFree = false;
    try {
      const answer = await this.#exchange(invocation);
      return answer.ok ? { ok: true, result: JSON.parse(answer.result) as unknown } : answer;
    } finally {
      this.isFree = true;
    }
  }

  #exchange(invocation: Invocation): Promise<Answer> {
    const { timeoutSeconds } = this.#specification;
    return new Promise((resolve) => {
      const fail = (errorType: string, errorMessage: string): void => {
        settle({ requestId: invocation.requestId, ok: false, error: { errorType, errorMessage, trace: [] } });
      };
      const timer = setTimeout(() => {
        this.end();
        fail(
          'Sandbox.Timedout',
          `RequestId: ${invocation.requestId} Error: Task timed out after ${timeoutSeconds}.00 seconds`,
        );
      }, timeoutSeconds * 1000);
      const onExit = (): void =>
        fail('Runtime.ExitError', `RequestId: ${invocation.requestId} Error: Runtime exited`);
      const onMessage = (message: unknown): void => settle(message as Answer);
      const settle = (answer: Answer): void => {
        clearTimeout(timer);
        this.#child.off('exit', onExit);
        this.#child.off('message', onMessage);
        resolve(answer);
      };
      this.#child.once('exit', onExit);
      this.#child.once('message', onMessage);
      this.#child.send(invocation);
    });
  }

  /** Frozen environments are not asked to go. */
  end(): void {
    this.hasEnded = true;
    this.#child.kill('SIGKILL');
  }
}
