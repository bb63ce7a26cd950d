import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatLsn, type Lsn } from '../../../../lib/domain/wal/lsn.ts';
import type { CommitWatch, JournalPiece } from '../../ports/wal.ts';
import { SegmentBuffers } from './wal-buffers.ts';
import { journalConflict, journalledTo, newerThan, OpenSegment } from './wal-open-segment.ts';
import type { ReceiverOptions, ReceiverStart } from './wal-receiver-options.ts';
import { PackingRoom } from './wal-packing-room.ts';
import { SendingWindow } from './wal-sending-window.ts';
import { SentWal } from './wal-sent.ts';

/** Segments that may be on their way beside and ahead of the oldest that S3 does not hold yet. */
export const MOST_AHEAD = 16;
/** Compressed segments on their way to S3; the connections hold up to two copies. */
const ON_THE_WAY = { bytes: 20 * 1024 * 1024, ahead: MOST_AHEAD };
/** Those, and compressed ones that wait beside their own plain bytes. */
const PACKED = 40 * 1024 * 1024;

/**
 * @param release the segment's buffer is not needed any more; at the end it is not anyway
 * @param mayWrite returns once something may get into S3
 */
type Write = (release: () => void, mayWrite: () => Promise<void>) => Promise<void>;

/**
 * Puts WAL together to segments and sees to it that S3 gets them: complete ones several at once, the open one's new bytes
 * as pieces. What is held in memory is bounded by the number of buffers: when all are in use, `accept` waits.
 */
export class WalReceiver {
  readonly #options: ReceiverOptions;
  readonly #buffers: SegmentBuffers;
  readonly #room: PackingRoom;
  readonly #window = new SendingWindow(ON_THE_WAY);
  #start: ReceiverStart = { timeline: 1, from: 0n, resume: 0n, pieces: [] };
  /** What has to end well before anything else is written. */
  #gate: Promise<unknown> | undefined;
  #open: OpenSegment | undefined;
  #next: Lsn = 0n;
  #commits: CommitWatch | undefined;
  readonly #sent = new SentWal();
  #underWay = new Set<Promise<void>>();
  #journalling: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;
  #safe: Lsn = 0n;
  /** When the last commit arrived, by the clock that never jumps. */
  committedAt: number | undefined;
  /** Complete segments that S3 took, and their compressed bytes. */
  readonly stored = { segments: 0, bytes: 0 };

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#buffers = new SegmentBuffers(options.segmentSize, options.clock);
    this.#room = new PackingRoom(PACKED, options.segmentSize);
  }

  /** Everything before it lies in S3. */
  get safe(): Lsn {
    return this.#safe;
  }

  /** The next byte to come. */
  get position(): Lsn {
    return this.#next;
  }

  /** Since when the oldest byte waits that S3 does not hold, by the clock that never jumps. */
  get waitingSince(): number | undefined {
    return this.#sent.waitingSince ?? this.#open?.waitingSince;
  }

  /** Nothing of before may be under way any more. */
  begin(start: ReceiverStart): void {
    this.#start = start;
    this.#next = start.from;
    this.#safe = start.from;
    this.#open = undefined;
    this.#gate = undefined;
    this.#commits = this.#options.watchCommits(start.from, this.#options.segmentSize);
  }

  /**
   * Copies the next bytes. Most of the time that is all; when every buffer waits for S3 the promise settles once the rest has
   * found room, and the bytes must stay as they are until then.
   * @throws LifeboatError S3_UNAVAILABLE when S3 has taken nothing for long; then the rest is dropped, and the slot keeps it.
   *   Whatever no further try can mend
   */
  accept(bytes: Buffer): Promise<void> | undefined {
    this.#throwFailure();
    const copied = this.#fill(bytes, 0);
    return copied === bytes.length ? undefined : this.#acceptRest(bytes, copied);
  }

  async #acceptRest(bytes: Buffer, copied: number): Promise<void> {
    for (let from = copied; from < bytes.length; from = this.#fill(bytes, from)) {
      await this.#buffers.untilFree();
      this.#throwFailure();
    }
  }

  /** Copies as much as there is room for now. @returns how far it got */
  #fill(bytes: Buffer, start: number): number {
    let at = start;
    while (at < bytes.length) {
      const buffer = this.#open?.buffer ?? this.#buffers.take();
      if (!buffer) break;
      const open = this.#open ?? this.#openSegment(buffer);
      const before = open.filled;
      at += open.take(bytes, at);
      this.#commits?.push(buffer.subarray(before, open.filled));
      this.#took(open, before);
    }
    return at;
  }

  /** @param before so much of it was there before */
  #took(open: OpenSegment, before: number): void {
    this.#next = open.position;
    this.#noteCommit(open);
    for (const piece of open.takeProvable()) this.#prove(open, piece);
    if (open.filled > open.journalled) open.waitingSince ??= this.#options.clock.monotonic();
    // What the journal had before is here again: the server may hear of it.
    if (before < open.journalled && open.filled >= open.journalled) this.#advance();
    if (open.complete) this.#sendSegment(open);
  }

  /**
   * The whole next segment, put into its memory by `read` once that is free, however long S3 may be away; between segments alone.
   * @returns what `read` says: whether it is there. If not, nothing was taken
   * @throws whatever no further try can mend
   */
  async acceptSegment(read: (into: Buffer, start: Lsn) => Promise<boolean>): Promise<boolean> {
    this.#throwFailure();
    const buffer = await this.#buffers.takeWhenFree();
    let taken = false;
    try {
      // While a buffer was waited for.
      this.#throwFailure();
      taken = await read(buffer, this.#next);
    } finally {
      if (!taken) this.#buffers.giveBack(buffer);
    }
    if (!taken) return false;
    const open = this.#openSegment(buffer);
    open.filled = buffer.length;
    this.#commits?.pushSegment(buffer);
    this.#took(open, 0);
    return true;
  }

  /** Writes the open segment's new bytes as a piece. Returns when S3 has them; at once when there are none. */
  async flush(): Promise<void> {
    // The piece before may have been cut before the latest bytes came.
    await this.#journalling;
    const open = this.#open;
    if (!open || open.filled <= open.journalled || this.#failure) return;
    this.#journalling = this.#sendPiece(open).finally(() => {
      this.#journalling = undefined;
    });
    await this.#journalling;
  }

  /** The timeline ends here: stores its last, incomplete segment, and returns when S3 holds everything. */
  async endTimeline(switchLsn: Lsn): Promise<void> {
    if (switchLsn !== this.#next) {
      const [end, received] = [formatLsn(switchLsn), formatLsn(this.#next)];
      throw new LifeboatError('BUG', `The timeline ended at ${end}, but WAL was received to ${received}`);
    }
    const open = this.#open;
    this.#open = undefined;
    if (open && open.filled > 0) this.#sendPartial(open);
    else if (open) this.#buffers.giveBack(open.buffer);
    await this.settle();
  }

  /** Returns when nothing is under way any more. @throws whatever no further try can mend */
  async settle(): Promise<void> {
    while (this.#underWay.size > 0 || this.#journalling) {
      await Promise.all([...this.#underWay, this.#journalling]);
    }
    this.#throwFailure();
  }

  #noteCommit(open: OpenSegment): void {
    const last = newerThan(open.start, this.#commits?.last);
    if (last?.lsn === open.lastCommit?.lsn) return;
    open.lastCommit = last;
    this.committedAt = this.#options.clock.monotonic();
  }

  #openSegment(buffer: Buffer): OpenSegment {
    const { timeline, resume, pieces } = this.#start;
    const open = new OpenSegment(timeline, this.#next, buffer);
    open.users = 1;
    // S3 has it whole: it is only compared, and needs no pieces.
    if (open.start < resume) open.journalled = buffer.length;
    if (open.start === resume) {
      open.unproven = [...pieces];
      open.journalled = Number(journalledTo(pieces, resume) - resume);
    }
    this.#open = open;
    return open;
  }

  /** Its buffer is free again as soon as it is packed, and on its way. */
  #sendSegment(open: OpenSegment): void {
    this.#open = undefined;
    const { archive, persist } = this.#options;
    const turn = this.#window.announce();
    this.#send(open, async (release, mayWrite) => {
      const place = await this.#room.enter();
      try {
        this.#throwFailure();
        const packed = await archive.packSegment(open.place, open.buffer, open.lastCommit);
        place.fit(packed.size);
        await mayWrite();
        await this.#window.enter(turn, packed.size);
        release();
        this.#throwFailure();
        await persist(() => packed.put());
        this.#window.leave(turn, packed.size);
        this.stored.segments += 1;
        this.stored.bytes += packed.size;
      } finally {
        place.leave();
      }
    });
  }

  #sendPartial(open: OpenSegment): void {
    const { archive, persist } = this.#options;
    const bytes = open.buffer.subarray(0, open.filled);
    this.#send(open, async (_release, mayWrite) => {
      await mayWrite();
      await persist(() => archive.putPartial(open.place, bytes, open.lastCommit));
    });
  }

  #send(open: OpenSegment, write: Write): void {
    const arrived = this.#sent.add(open.position, open.waitingSince ?? this.#options.clock.monotonic());
    void this.#write(open, write, () => {
      arrived();
      this.#advance();
    });
  }

  /**
   * The first object goes alone, and after what S3 holds of these bytes was compared: another cluster's WAL must not get in
   * beside the one object that gives it away.
   */
  async #write(open: OpenSegment, write: Write, done: () => void): Promise<void> {
    const gate = this.#gate;
    const mayWrite = async (): Promise<void> => {
      if (gate) await gate;
      this.#throwFailure();
    };
    const writing = this.#track(open, async (release) => {
      await write(release, mayWrite);
      done();
    });
    this.#gate ??= writing;
    await writing;
  }

  async #sendPiece(open: OpenSegment): Promise<void> {
    const { archive, clock, persist } = this.#options;
    const [from, to] = [open.journalled, open.filled];
    const first = open.start + BigInt(from);
    const lastCommit = newerThan(first, open.lastCommit);
    const bytes = open.buffer.subarray(from, to);
    open.users += 1;
    const piece = { from: first, bytes };
    const write: Write = async (_release, mayWrite) => {
      await mayWrite();
      await persist(() => archive.putPiece(open.place, piece, lastCommit));
    };
    await this.#write(open, write, () => {
      open.journalled = to;
      if (open === this.#open) open.waitingSince = open.filled > to ? clock.monotonic() : undefined;
      this.#advance();
    });
  }

  /** WAL that S3 has under this name must be what the server has there. */
  #prove(open: OpenSegment, piece: JournalPiece): void {
    const { archive, persist } = this.#options;
    open.users += 1;
    const proving = this.#track(open, async () => {
      if (await persist(() => archive.pieceHolds(open.place, piece, open.bytesOf(piece)))) return;
      throw journalConflict(open.place, piece);
    });
    this.#gate = Promise.all([this.#gate, proving]);
  }

  /**
   * Never rejects: what fails is thrown by the next call. The segment's buffer goes round again once it has no users: it is born
   * with one, which is its last write as a segment; each piece that is written or compared before adds one of its own, and the
   * `work` that is tracked for it takes that one away, at its end or when it calls `release`.
   */
  #track(open: OpenSegment, work: (release: () => void) => Promise<void>): Promise<void> {
    let held = true;
    const release = (): void => {
      if (!held) return;
      held = false;
      open.users -= 1;
      if (open.users === 0) this.#buffers.giveBack(open.buffer);
    };
    const running = work(release)
      .catch((error: unknown) => {
        if (this.#failure) return;
        this.#failure = { error };
        this.#window.close();
        this.#room.close();
        this.#options.onFailure(error);
      })
      .finally(() => {
        this.#underWay.delete(running);
        release();
      });
    this.#underWay.add(running);
    return running;
  }

  /** Only what S3 holds without a gap is safe. */
  #advance(): void {
    this.#safe = this.#sent.takeHeld() ?? this.#safe;
    const open = this.#open;
    if (this.#sent.isEmpty && open && open.journalled > 0 && open.filled >= open.journalled) {
      this.#safe = open.start + BigInt(open.journalled);
    }
    this.#options.onSafe(this.#safe);
  }

  #throwFailure(): void {
    if (this.#failure) throw this.#failure.error;
  }
}
