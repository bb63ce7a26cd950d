import { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatLsn, parseLsn, type Lsn } from '../../../lib/domain/wal/lsn.ts';
import type { TimelineEnd, WalMessage, WalRequest, WalStream } from '../ports/replication.ts';
import { BACKEND, message, parseDataRow, statusMessage } from './protocol.ts';
import type { Session } from './session.ts';
import { connectionLost } from './server-error.ts';
import { slotClause } from './slots.ts';

/**
 * START_REPLICATION (https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-START-REPLICATION).
 * @param silenceMs a server that says nothing for so long, though it is asked to, is gone
 * @throws LifeboatError see ReplicationServer.streamWal
 */
export async function startWalStream(
  session: Session,
  { slot, timeline, from }: WalRequest,
  silenceMs: number,
): Promise<WalStream> {
  const slotPart = slot === undefined ? '' : slotClause(slot);
  session.begin(`START_REPLICATION ${slotPart}PHYSICAL ${formatLsn(from)} TIMELINE ${timeline}`);
  session.turn();
  const first = await session.read();
  const stream = new RunningStream(session, from, silenceMs);
  // From the very end of an old timeline there is nothing to copy.
  if (first.type !== BACKEND.copyBothResponse) await stream.endAtOnce();
  return stream;
}

const POSTGRES_EPOCH_MS = BigInt(Date.UTC(2000, 0, 1));
/** Statuses in the time after which a silent party is given up, by us and by the server. */
const STATUSES_PER_SILENCE = 6;
/** The server asks for an answer after half of wal_sender_timeout without one; sooner than so much of ours it does only to end. */
const EARLY_SHARE = 0.25;
const STOP_TIMEOUT_MS = 5_000;

class RunningStream implements WalStream {
  readonly ended: Promise<TimelineEnd | undefined>;
  readonly #session: Session;
  readonly #silenceMs: number;
  readonly #timer: NodeJS.Timeout;
  #resolveEnded: (end: TimelineEnd | undefined) => void = () => undefined;
  #received: Lsn;
  #confirmed: Lsn = 0n;
  #statusAt = Date.now();
  #over = false;
  #stopped: Promise<void> | undefined;
  /** A read that waits for the server; two at a time would take each other's messages. */
  #reading: Promise<Buffer | undefined> | undefined;

  constructor(session: Session, from: Lsn, silenceMs: number) {
    this.#session = session;
    this.#silenceMs = silenceMs;
    this.#received = from;
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve;
    });
    this.#timer = setInterval(() => this.#tick(), silenceMs / STATUSES_PER_SILENCE);
    // The socket keeps the process alive, not this.
    this.#timer.unref();
  }

  async *messages(): AsyncGenerator<WalMessage> {
    try {
      while (!this.#over && !this.#stopped) {
        this.#session.turn();
        const body = this.#session.copyDataNow() ?? (await this.#read());
        if (!body) return;
        const found = this.#parse(body);
        if (found) yield found;
      }
    } finally {
      await this.stop();
    }
  }

  async #read(): Promise<Buffer | undefined> {
    this.#reading = this.#readOne();
    try {
      return await this.#reading;
    } finally {
      this.#reading = undefined;
    }
  }

  /** @returns `undefined` when the stream is over */
  async #readOne(): Promise<Buffer | undefined> {
    try {
      const { type, body } = await this.#session.read();
      if (this.#stopped) return undefined;
      if (type === BACKEND.copyData) return body;
      if (type === BACKEND.copyDone) return await this.#endOfTimeline();
      // The one thing that may come in midst of a copy: the last word of a server that shuts down.
      throw this.#lost('PostgreSQL is shutting down');
    } catch (error) {
      if (this.#stopped) return undefined;
      this.#finish(undefined);
      throw error;
    }
  }

  #parse(body: Buffer): WalMessage | undefined {
    switch (body[0]) {
      case TAG.wal:
        return this.#wal(body);
      case TAG.keepalive:
        return this.#keepalive(body);
      default:
        throw this.#lost(`it sent a message ${JSON.stringify(String.fromCharCode(body[0] ?? 0))}`);
    }
  }

  #wal(body: Buffer): WalMessage {
    const start = body.readBigUInt64BE(1);
    const bytes = body.subarray(WAL_HEADER_SIZE);
    if (start !== this.#received) {
      throw this.#lost(`WAL of ${formatLsn(start)} came where ${formatLsn(this.#received)} goes on`);
    }
    this.#received = start + BigInt(bytes.length);
    return {
      kind: 'wal',
      start,
      serverEnd: body.readBigUInt64BE(9),
      sentAt: body.readBigInt64BE(17),
      bytes,
    };
  }

  #keepalive(body: Buffer): WalMessage {
    const asked = body[17] === 1;
    const serverStopping = asked && Date.now() - this.#statusAt < this.#silenceMs * EARLY_SHARE;
    // While it shuts down it asks again as soon as it is answered; the timer and confirm() answer soon enough.
    if (asked && !serverStopping) this.#sendStatus();
    return {
      kind: 'keepalive',
      serverEnd: body.readBigUInt64BE(1),
      sentAt: body.readBigInt64BE(9),
      serverStopping,
    };
  }

  confirm(lsn: Lsn): void {
    if (lsn > this.#received) {
      const [confirmed, received] = [formatLsn(lsn), formatLsn(this.#received)];
      throw new LifeboatError(
        'BUG',
        `WAL was confirmed up to ${confirmed}, but received only to ${received}`,
      );
    }
    // The server takes any value for the slot, a lower one too.
    if (lsn <= this.#confirmed) return;
    this.#confirmed = lsn;
    if (!this.#over && !this.#stopped) this.#sendStatus();
  }

  #sendStatus(replyRequested = false): void {
    this.#statusAt = Date.now();
    const at = (BigInt(this.#statusAt) - POSTGRES_EPOCH_MS) * 1000n;
    this.#session.send(
      statusMessage({ written: this.#received, flushed: this.#confirmed, at, replyRequested }),
    );
  }

  #tick(): void {
    const silentMs = Date.now() - this.#session.heardAt;
    if (silentMs >= this.#silenceMs) {
      this.#session.abort(connectionLost(`nothing was heard of the server for ${silentMs / 1000} s`));
      return;
    }
    this.#sendStatus(silentMs >= this.#silenceMs / 2);
  }

  async #endOfTimeline(): Promise<undefined> {
    this.#session.send(message('c'));
    const rows = await this.#session.resultSet();
    await this.#session.untilIdle();
    const [timeline, lsn] = rows[0] ?? [];
    const end = timeline && lsn && endOf(timeline, lsn);
    if (!end) throw this.#lost('it ended the stream, but said not why');
    this.#finish(end);
  }

  /** Instead of a copy the server began to say which timeline follows. */
  async endAtOnce(): Promise<void> {
    let end: TimelineEnd | undefined;
    while (!this.#session.idle) {
      const { type, body } = await this.#session.read();
      if (type !== BACKEND.dataRow) continue;
      const [timeline, lsn] = parseDataRow(body);
      if (timeline && lsn) end = endOf(timeline, lsn);
    }
    if (!end) throw this.#lost('it ended the stream, but said not why');
    this.#finish(end);
  }

  #finish(end: TimelineEnd | undefined): void {
    this.#over = true;
    clearInterval(this.#timer);
    this.#resolveEnded(end);
  }

  #lost(reason: string): LifeboatError {
    const lost = connectionLost(reason);
    this.#session.abort(lost);
    return lost;
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    if (this.#over) return;
    this.#finish(undefined);
    this.#sendStatus();
    this.#session.send(message('c'));
    const late = setTimeout(() => {
      this.#session.abort(connectionLost(`it did not end the stream within ${STOP_TIMEOUT_MS / 1000} s`));
    }, STOP_TIMEOUT_MS);
    try {
      await this.#reading;
      await this.#session.untilIdle();
    } catch {
      // The connection is gone, and with it the stream; the next command on it says why.
    } finally {
      clearTimeout(late);
    }
  }
}

const TAG = { wal: 0x77, keepalive: 0x6b };
const WAL_HEADER_SIZE = 25;

function endOf(timeline: Buffer, lsn: Buffer): TimelineEnd {
  return { nextTimeline: Number(timeline.toString()), switchLsn: parseLsn(lsn.toString()) };
}
