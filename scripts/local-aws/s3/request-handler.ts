import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Answer } from './answer.ts';
import type { Call } from './call.ts';
import { answerControlRequest, isControlRequest } from './control.ts';
import { effectOf, holdUp, type Faults, type Line } from './faults.ts';
import { ConnectionCut, RequestBody } from './request-body.ts';
import { findRoute, type Route } from './routes/table.ts';
import { S3Error, s3Error } from './s3-error.ts';
import { parseRequest, type S3Request } from './s3-request.ts';
import { sendAnswer } from './send-answer.ts';
import type { SignatureVerifier } from './signature.ts';
import { randomId } from './state-files.ts';
import type { Store } from './store.ts';
import { errorDocument } from './xml.ts';

export interface RecordedRequest {
  readonly method: string;
  readonly bucket: string | undefined;
  readonly key: string | undefined;
  /** As sent, without the question mark. */
  readonly query: string;
  /** `PutObject` and the like; `Unknown` when nothing was found that it could be. */
  readonly action: string;
  /** Without the signature. */
  readonly headers: Readonly<Record<string, string>>;
  /** 0 until answered, and when the connection was cut. */
  readonly status: number;
}

/** Who asks for what, as policies are written about it. */
export interface S3Access {
  readonly accessKeyId: string;
  /** S3's name of the operation, such as `HeadObject`. */
  readonly operation: string;
  readonly request: S3Request;
}

/**
 * @returns whether the caller may know that a key is not there: without the right to list, S3 denies it instead
 * @throws S3Error AccessDenied
 */
export type AuthorizeS3 = (access: S3Access) => { readonly mayKnowOfAbsence: boolean };

export interface HandlerOptions {
  readonly store: Store;
  readonly region: string;
  readonly now: () => number;
  readonly faults: Faults;
  readonly verifier: SignatureVerifier;
  readonly md5Etags: boolean;
  readonly authorize: AuthorizeS3 | undefined;
}

/** Bounds the memory of a server that runs for weeks. */
const MAX_RECORDED = 100_000;

/** One request from its first line to its answer. */
export class RequestHandler {
  readonly faults: Faults;
  readonly requests: RecordedRequest[] = [];
  readonly #options: HandlerOptions;

  constructor(options: HandlerOptions) {
    this.#options = options;
    this.faults = options.faults;
  }

  /** Never rejects: whatever goes wrong is an answer, or a closed connection. */
  async handle(message: IncomingMessage, response: ServerResponse, expectsContinue: boolean): Promise<void> {
    if (isControlRequest(message)) return await answerControlRequest(message, response, this);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const requestId = randomId(8).toUpperCase();
    response.setHeader('x-amz-request-id', requestId);
    response.setHeader('x-amz-id-2', Buffer.from(requestId).toString('base64'));
    response.setHeader('Server', 'LocalS3');
    const exchange: Exchange = {
      message,
      response,
      requestId,
      awaitsContinue: expectsContinue,
      line: { effects: [], gone: gone.signal, cleared: this.faults.cleared },
      record: undefined,
    };
    try {
      const answer = await this.#answer(exchange);
      if (exchange.record !== undefined) exchange.record.status = answer.status;
      await sendAnswer(response, answer, exchange.line);
    } catch (error) {
      await this.#fail(exchange, error);
    }
    // What is left of a refused body is read and dropped, so that the client gets to read the answer.
    message.resume();
  }

  async #answer(exchange: Exchange): Promise<Answer> {
    const { message, response, requestId } = exchange;
    const request = parseRequest(message, requestId);
    const record = this.#record(request);
    exchange.record = record;
    const route = findRoute(request);
    record.action = route.action;
    exchange.line = { ...exchange.line, effects: this.faults.take(record), cleared: this.faults.cleared };
    await this.#meetFaults(exchange);
    const verified = this.#options.verifier.verify(request);
    const { accessKeyId } = verified;
    const granted = this.#options.authorize?.({ accessKeyId, operation: route.action, request });
    const body = new RequestBody(message, verified, {
      line: exchange.line,
      onStart: () => {
        if (exchange.awaitsContinue) response.writeContinue();
        exchange.awaitsContinue = false;
      },
      checksumIsOfObject: route.action === 'CompleteMultipartUpload',
    });
    const { store, region, md5Etags, now } = this.#options;
    const answered = dispatch(route, { request, body, store, region, md5Etags, now: now() });
    return await (granted?.mayKnowOfAbsence === false ? hidingAbsence(answered) : answered);
  }

  #record(request: S3Request): MutableRecord {
    const { authorization: _signature, 'x-amz-security-token': _token, ...headers } = request.headers;
    const record: MutableRecord = {
      method: request.method,
      bucket: request.bucket,
      key: request.key,
      query: request.rawQuery,
      action: 'Unknown',
      headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)])),
      status: 0,
    };
    this.requests.push(record);
    if (this.requests.length > MAX_RECORDED) this.requests.shift();
    return record;
  }

  /** The faults that come before any work. */
  async #meetFaults({ message, line }: Exchange): Promise<void> {
    const { effects } = line;
    const delay = effectOf(effects, 'delay');
    if (delay !== undefined) await holdUp(delay.milliseconds, line);
    const hasBody =
      Number(message.headers['content-length'] ?? 0) > 0 ||
      message.headers['transfer-encoding'] !== undefined;
    if (!hasBody && effectOf(effects, 'cut-request') !== undefined) throw new ConnectionCut('cut on arrival');
    const error = effectOf(effects, 'error');
    if (error === undefined) return;
    throw new S3Error(
      error.code,
      error.status,
      error.message ?? `The local S3 was told to answer ${error.code}.`,
      {
        headers:
          error.retryAfterSeconds === undefined ? {} : { 'retry-after': String(error.retryAfterSeconds) },
      },
    );
  }

  async #fail(exchange: Exchange, error: unknown): Promise<void> {
    const { response, record, line } = exchange;
    const isCut = error instanceof ConnectionCut || response.headersSent || line.gone.aborted;
    const answer = isCut ? undefined : errorAnswer(asS3Error(error), exchange);
    if (record !== undefined) record.status = answer?.status ?? 0;
    if (answer === undefined) {
      response.socket?.destroy();
      return;
    }
    // The client may or may not send the body that it was never told to: no other request can follow on this line.
    if (exchange.awaitsContinue) response.setHeader('Connection', 'close');
    try {
      await sendAnswer(response, answer, line);
    } catch {
      // The line was cut, by a fault or by the client: there is nobody left to tell.
      if (record !== undefined) record.status = 0;
      response.socket?.destroy();
    }
  }
}

type MutableRecord = { -readonly [K in keyof RecordedRequest]: RecordedRequest[K] };

interface Exchange {
  readonly message: IncomingMessage;
  readonly response: ServerResponse;
  readonly requestId: string;
  /** The client sent `Expect: 100-continue` and has not been told to go on. */
  awaitsContinue: boolean;
  line: Line;
  record: MutableRecord | undefined;
}

async function hidingAbsence(answered: Promise<Answer>): Promise<Answer> {
  try {
    return await answered;
  } catch (error) {
    if (error instanceof S3Error && error.code === 'NoSuchKey')
      throw s3Error('AccessDenied', 'Access Denied');
    throw error;
  }
}

async function dispatch(route: Route, call: Call): Promise<Answer> {
  if (route.level === 'service' || route.level === 'new-bucket') return await route.handler(call);
  const bucket = call.store.bucket(call.request.bucket ?? '');
  if (route.level === 'bucket') return await route.handler({ ...call, bucket });
  return await route.handler({ ...call, bucket, key: call.request.key ?? '' });
}

function asS3Error(error: unknown): S3Error {
  if (error instanceof S3Error) return error;
  const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return s3Error('InternalError', `The local S3 failed: ${reason}`);
}

function errorAnswer(error: S3Error, { message, requestId }: Exchange): Answer {
  const { status, headers } = error;
  if (message.method === 'HEAD' || status === 304) return { status, headers };
  const xml = errorDocument({
    Code: error.code,
    Message: error.message,
    ...error.fields,
    Resource: (message.url ?? '').split('?')[0] ?? '',
    RequestId: requestId,
    HostId: 'local',
  });
  return { status, headers, xml };
}
