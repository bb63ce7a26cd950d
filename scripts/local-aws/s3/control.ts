import type { IncomingMessage, ServerResponse } from 'node:http';
import { ZodError } from 'zod';
import type { FaultRule, Faults } from './faults.ts';
import type { RecordedRequest } from './request-handler.ts';

/**
 * Faults and the record of requests over HTTP, for tests that run the server as a process of its own. No signature, but
 * only from this machine; `_local` can be no bucket, their names have no underscore.
 *
 *   POST   /_local/faults        a rule as JSON (faults.ts); answers it with its id
 *   GET    /_local/faults        all of them, with how often each was applied
 *   DELETE /_local/faults[/ID]   one, or all
 *   GET    /_local/requests      what was asked so far
 */
const PREFIX = '/_local/';
const MAX_RULE = 64 * 1024;

export const isControlRequest = (message: IncomingMessage): boolean =>
  message.url?.startsWith(PREFIX) === true;

interface Controlled {
  readonly faults: Faults;
  readonly requests: readonly RecordedRequest[];
}

export async function answerControlRequest(
  message: IncomingMessage,
  response: ServerResponse,
  controlled: Controlled,
): Promise<void> {
  const { status, body } = await control(message, controlled).catch((error: unknown): ControlAnswer => ({
    status: 500,
    body: { error: String(error) },
  }));
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(body === undefined ? '' : JSON.stringify(body));
}

interface ControlAnswer {
  readonly status: number;
  readonly body?: unknown;
}

async function control(message: IncomingMessage, { faults, requests }: Controlled): Promise<ControlAnswer> {
  if (!isLoopback(message.socket.remoteAddress)) return { status: 403 };
  const [resource, id] = (message.url ?? '').slice(PREFIX.length).split('/');
  const wanted = `${message.method ?? ''} ${resource ?? ''}`;
  if (wanted === 'GET requests') return { status: 200, body: requests };
  if (wanted === 'GET faults') return { status: 200, body: faults.list() };
  if (wanted === 'POST faults') return await addRule(message, faults);
  if (wanted !== 'DELETE faults') return { status: 404 };
  if (id === undefined) faults.clear();
  else if (!faults.remove(Number(id))) return { status: 404 };
  return { status: 204 };
}

async function addRule(message: IncomingMessage, faults: Faults): Promise<ControlAnswer> {
  try {
    const rule: unknown = JSON.parse(await readText(message));
    const { id } = faults.add(rule as FaultRule);
    return { status: 201, body: { id, rule } };
  } catch (error) {
    if (error instanceof ZodError || error instanceof SyntaxError)
      return { status: 400, body: { error: error.message } };
    throw error;
  }
}

async function readText(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_RULE) throw new SyntaxError(`a fault rule is at most ${MAX_RULE} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

const isLoopback = (address: string | undefined): boolean =>
  address !== undefined && /^(127\.|::1$|::ffff:127\.)/.test(address);
