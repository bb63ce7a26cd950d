import type { FileHandle } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import type { Answer, Content } from './answer.ts';
import { crawl, effectOf, type Line } from './faults.ts';
import { ConnectionCut, flipper } from './request-body.ts';

const READ_SIZE = 1024 * 1024;
/** Small enough that a slow line is slow evenly. */
const SLOW_READ_SIZE = 16 * 1024;

/** Sends an answer, with the faults of the line. @throws ConnectionCut when a fault cuts it. */
export async function sendAnswer(response: ServerResponse, answer: Answer, line: Line): Promise<void> {
  if (effectOf(line.effects, 'lose-answer') !== undefined) throw new ConnectionCut('answer lost');
  const body = answer.xml === undefined ? undefined : Buffer.from(answer.xml, 'utf8');
  response.statusCode = answer.status;
  for (const [name, value] of Object.entries(answer.headers ?? {}))
    if (value !== undefined) response.setHeader(name, value);
  if (body !== undefined && !response.hasHeader('Content-Type'))
    response.setHeader('Content-Type', 'application/xml');
  setLength(response, answer.content?.length ?? body?.length);
  const sender = new Sender(response, line);
  if (body !== undefined) await sender.send(body);
  if (answer.content !== undefined) await sendContent(sender, answer.content);
  await sender.end();
}

/** An answer to HEAD says how long the object is, though it sends none of it; 204 and 304 never have a body. */
function setLength(response: ServerResponse, length: number | undefined): void {
  const hasNone = response.statusCode === 204 || response.statusCode === 304;
  if (hasNone || (length === undefined && response.hasHeader('Content-Length'))) return;
  response.setHeader('Content-Length', length ?? 0);
}

async function sendContent(sender: Sender, content: Content): Promise<void> {
  const buffers = new AlternatingBuffers(Math.min(sender.pieceSize, Math.max(content.length, 1)));
  let skip = content.start;
  let rest = content.length;
  for (const segment of content.segments) {
    if (rest === 0) break;
    const length = Math.min(rest, segment.size - skip);
    if (length > 0) {
      await sendSegment(sender, buffers, content.data.open(segment.file), { start: skip, length });
      rest -= length;
    }
    skip = Math.max(0, skip - segment.size);
  }
}

async function sendSegment(
  sender: Sender,
  buffers: AlternatingBuffers,
  opening: Promise<FileHandle>,
  range: Range,
): Promise<void> {
  const file = await opening;
  try {
    await sendFile(sender, buffers, file, range);
    await buffers.settled();
  } finally {
    await file.close();
  }
}

interface Range {
  readonly start: number;
  readonly length: number;
}

async function sendFile(
  sender: Sender,
  buffers: AlternatingBuffers,
  file: FileHandle,
  range: Range,
): Promise<void> {
  for (let done = 0; done < range.length;) {
    const buffer = await buffers.next();
    const wanted = Math.min(buffer.length, range.length - done);
    const { bytesRead } = await file.read(buffer, 0, wanted, range.start + done);
    if (bytesRead === 0) throw new Error('a data file is shorter than its record says');
    done += bytesRead;
    buffers.inUse(sender.send(buffer.subarray(0, bytesRead)));
  }
}

/** Reads into one buffer while the other is on its way: two per answer, however large the object. */
class AlternatingBuffers {
  readonly #buffers: readonly [Buffer, Buffer];
  #index = 0;
  #sent: [Promise<void>, Promise<void>] = [Promise.resolve(), Promise.resolve()];

  constructor(size: number) {
    this.#buffers = [Buffer.allocUnsafe(size), Buffer.allocUnsafe(size)];
  }

  async next(): Promise<Buffer> {
    this.#index = 1 - this.#index;
    await this.#sent[this.#index];
    return this.#index === 0 ? this.#buffers[0] : this.#buffers[1];
  }

  inUse(sent: Promise<void>): void {
    // A rejection is met at the next await of this buffer; without this one, Node would end the process first.
    sent.catch(() => undefined);
    this.#sent[this.#index] = sent;
  }

  async settled(): Promise<void> {
    await Promise.all(this.#sent);
  }
}

/** The body of one answer on its way out. */
class Sender {
  readonly #response: ServerResponse;
  readonly #line: Line;
  readonly #bytesPerSecond: number | undefined;
  readonly #cutAfter: number | undefined;
  readonly #flip: (piece: Buffer) => void;
  #sent = 0;
  #tail: Promise<void> = Promise.resolve();

  constructor(response: ServerResponse, line: Line) {
    const { effects } = line;
    this.#response = response;
    this.#line = line;
    this.#bytesPerSecond = effectOf(effects, 'bandwidth')?.bytesPerSecond;
    this.#cutAfter = effectOf(effects, 'cut-response')?.afterBytes;
    this.#flip = flipper(effectOf(effects, 'flip-response')?.offset);
  }

  get pieceSize(): number {
    return this.#bytesPerSecond === undefined ? READ_SIZE : SLOW_READ_SIZE;
  }

  /** Pieces leave in the order of the calls; resolves when this one has, so that its buffer may be used again. */
  send(piece: Buffer): Promise<void> {
    this.#tail = this.#tail.then(() => this.#sendNow(piece));
    return this.#tail;
  }

  async #sendNow(piece: Buffer): Promise<void> {
    this.#flip(piece);
    const before = this.#sent;
    this.#sent += piece.length;
    if (this.#bytesPerSecond !== undefined) await crawl(piece.length, this.#bytesPerSecond, this.#line);
    if (this.#cutAfter !== undefined && this.#sent >= this.#cutAfter) {
      await this.#write(piece.subarray(0, this.#cutAfter - before));
      throw new ConnectionCut('cut while sending');
    }
    await this.#write(piece);
  }

  async end(): Promise<void> {
    if (this.#cutAfter !== undefined) throw new ConnectionCut('cut after sending');
    await this.#unlessGone((sent) => this.#response.end(sent));
  }

  async #write(piece: Buffer): Promise<void> {
    // An empty write would not send the headers.
    if (piece.length === 0) this.#response.flushHeaders();
    await this.#unlessGone((sent) => this.#response.write(piece, sent));
  }

  /** Node calls nobody back about what is sent on a line that has closed already. @throws ConnectionCut */
  async #unlessGone(send: (sent: (error?: Error | null) => void) => unknown): Promise<void> {
    const { gone } = this.#line;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onGone = (): void => reject(new ConnectionCut('the client went away'));
    if (gone.aborted) throw new ConnectionCut('the client went away');
    gone.addEventListener('abort', onGone, { once: true });
    send((error) => (error ? reject(error) : resolve()));
    await promise.finally(() => gone.removeEventListener('abort', onGone));
  }
}
