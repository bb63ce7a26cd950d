import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';

const bytes = z.number().int().nonnegative();

/**
 * What can go wrong. Offsets count the payload's bytes (decoded, when it arrives in signed chunks); a fault on a byte
 * that a body does not have leaves that body alone.
 */
const effectSchema = z.discriminatedUnion('kind', [
  /** Answers without doing the work. A status of 200 is S3's late failure: an Error document where a result was due. */
  z.strictObject({
    kind: z.literal('error'),
    status: z.number().int().min(200).max(599),
    code: z.string().min(1),
    message: z.string().optional(),
    retryAfterSeconds: z.number().nonnegative().optional(),
  }),
  /** Closes the connection once that much of the request's body arrived. */
  z.strictObject({ kind: z.literal('cut-request'), afterBytes: bytes }),
  /** Closes the connection once that much of the answer's body was sent. */
  z.strictObject({ kind: z.literal('cut-response'), afterBytes: bytes }),
  /** Inverts the lowest bit of one received byte, before anything is verified. */
  z.strictObject({ kind: z.literal('flip-request'), offset: bytes }),
  z.strictObject({ kind: z.literal('flip-response'), offset: bytes }),
  z.strictObject({ kind: z.literal('delay'), milliseconds: z.number().nonnegative() }),
  /** Limits the bodies of this one request, in both directions. */
  z.strictObject({ kind: z.literal('bandwidth'), bytesPerSecond: z.number().positive() }),
  /** Does the work, then closes the connection instead of answering. */
  z.strictObject({ kind: z.literal('lose-answer') }),
]);

export type FaultEffect = z.infer<typeof effectSchema>;

const faultRuleSchema = z.strictObject({
  /** S3's names: `PutObject`, `UploadPart`, … All when left out. */
  action: z.union([z.string(), z.array(z.string()).readonly()]).optional(),
  bucket: z.string().optional(),
  /** Exact, or with `*` for any characters. Requests on a bucket have no key and match only rules without one. */
  key: z.string().optional(),
  /** Matching requests to let pass first. */
  skip: z.number().int().nonnegative().optional(),
  /** How many matching requests to hit: 1 when left out. */
  times: z.union([z.number().int().positive(), z.literal('always')]).optional(),
  effect: effectSchema,
});

export type FaultRule = z.infer<typeof faultRuleSchema>;

export interface FaultState {
  readonly id: number;
  readonly rule: FaultRule;
  /** Requests that it was applied to so far. */
  readonly hits: number;
}

export interface FaultTarget {
  readonly action: string;
  readonly bucket: string | undefined;
  readonly key: string | undefined;
}

interface Armed {
  readonly id: number;
  readonly rule: FaultRule;
  readonly keyPattern: RegExp | undefined;
  seen: number;
  hits: number;
}

/** Faults on demand: rules are tried in the order they were added; one request can meet several. */
export class Faults {
  #armed: Armed[] = [];
  #lastId = 0;
  #cleared = new AbortController();

  add(rule: FaultRule): FaultState {
    const valid = faultRuleSchema.parse(rule);
    this.#lastId += 1;
    const keyPattern = valid.key === undefined ? undefined : patternOf(valid.key);
    const armed: Armed = { id: this.#lastId, rule: valid, keyPattern, seen: 0, hits: 0 };
    this.#armed.push(armed);
    return armed;
  }

  /** 503 SlowDown for the next `times` requests. */
  slowDown(match: Omit<FaultRule, 'effect'> = {}): FaultState {
    const message = 'Please reduce your request rate.';
    return this.add({ ...match, effect: { kind: 'error', status: 503, code: 'SlowDown', message } });
  }

  /** 403 AccessDenied for ever, as when a policy does not allow the action. */
  deny(match: Omit<FaultRule, 'effect'>): FaultState {
    const effect = { kind: 'error', status: 403, code: 'AccessDenied', message: 'Access Denied' } as const;
    return this.add({ times: 'always', ...match, effect });
  }

  remove(id: number): boolean {
    const before = this.#armed.length;
    this.#armed = this.#armed.filter((armed) => armed.id !== id);
    return this.#armed.length < before;
  }

  /** Requests that are held up, or on a slow line, go on at once. */
  clear(): void {
    this.#armed = [];
    this.#cleared.abort();
    this.#cleared = new AbortController();
  }

  /** Aborted when what holds a request up now is cleared. */
  get cleared(): AbortSignal {
    return this.#cleared.signal;
  }

  list(): readonly FaultState[] {
    return this.#armed.map(({ id, rule, hits }) => ({ id, rule, hits }));
  }

  /** The effects that a request meets; counts it. */
  take(target: FaultTarget): readonly FaultEffect[] {
    const effects: FaultEffect[] = [];
    for (const armed of this.#armed) {
      if (!matches(armed, target)) continue;
      armed.seen += 1;
      const { skip = 0, times = 1, effect } = armed.rule;
      if (armed.seen <= skip || (times !== 'always' && armed.hits >= times)) continue;
      armed.hits += 1;
      effects.push(effect);
    }
    return effects;
  }
}

function matches({ rule, keyPattern }: Armed, target: FaultTarget): boolean {
  const { action, bucket } = rule;
  if (action !== undefined && ![action].flat().includes(target.action)) return false;
  if (bucket !== undefined && bucket !== target.bucket) return false;
  return keyPattern === undefined || (target.key !== undefined && keyPattern.test(target.key));
}

function patternOf(glob: string): RegExp {
  const literal = glob.split('*').map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${literal.join('.*')}$`, 's');
}

const NOTICED_MS = 20;

/** The connection of one request, with the faults that it meets. */
export interface Line {
  readonly effects: readonly FaultEffect[];
  /** Aborted when the client, or the server, has closed the connection. */
  readonly gone: AbortSignal;
  /** Aborted when the faults are over. */
  readonly cleared: AbortSignal;
}

/** As long as `size` bytes take on a line that slow. @throws AbortError when the line closes meanwhile */
export async function crawl(size: number, bytesPerSecond: number, line: Line): Promise<void> {
  await holdUp((size / bytesPerSecond) * 1000, line);
}

/** Returns early when the faults are over. @throws AbortError when the line closes meanwhile */
export async function holdUp(milliseconds: number, { gone, cleared }: Line): Promise<void> {
  try {
    await sleep(milliseconds, undefined, { signal: AbortSignal.any([gone, cleared]) });
  } catch (error) {
    if (gone.aborted) throw error;
    // A client that was killed before has gone by then; its request is not to be done.
    await sleep(NOTICED_MS, undefined, { signal: gone });
  }
}

/** The first effect of one kind among those that a request met. */
export function effectOf<K extends FaultEffect['kind']>(
  effects: readonly FaultEffect[],
  kind: K,
): Extract<FaultEffect, { kind: K }> | undefined {
  return effects.find((effect): effect is Extract<FaultEffect, { kind: K }> => effect.kind === kind);
}
