import type { Lsn } from '../../../../lib/domain/wal/lsn.ts';

interface Sent {
  readonly end: Lsn;
  readonly since: number;
  done: boolean;
}

/** WAL that was sent, but that S3 may not hold yet; in WAL order. */
export class SentWal {
  readonly #sent: Sent[] = [];

  get isEmpty(): boolean {
    return this.#sent.length === 0;
  }

  /** Since when the oldest waits, by the clock that never jumps. */
  get waitingSince(): number | undefined {
    return this.#sent[0]?.since;
  }

  /** @returns to be called once S3 holds what ends there */
  add(end: Lsn, since: number): () => void {
    const sent: Sent = { end, since, done: false };
    this.#sent.push(sent);
    return () => {
      sent.done = true;
    };
  }

  /** @returns where what S3 holds without a gap ends; `undefined`: no further than when it was asked last */
  takeHeld(): Lsn | undefined {
    let held: Lsn | undefined;
    while (this.#sent[0]?.done) held = this.#sent.shift()!.end;
    return held;
  }
}
