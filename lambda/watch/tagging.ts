import { asLifeboatError, LifeboatError } from '../../lib/domain/errors.ts';
import { changeTags } from '../../lib/domain/watch/tagging-plan.ts';
import type { Bucket } from '../bucket.ts';
import type { Log } from '../log.ts';
import { forEachOf } from '../pool.ts';

interface TaggedFolder {
  readonly backups: Bucket;
  readonly log: Log;
  readonly prefix: string;
  readonly app: string;
}

const AT_ONCE = 16;
const MOST_TOLD = 5;

/** Sets and takes away the one tag, and keeps count of what did not work. */
export class Tagging {
  tagged = 0;
  readonly #work: TaggedFolder;
  #failed = 0;
  readonly #failures: LifeboatError[] = [];

  constructor(work: TaggedFolder) {
    this.#work = work;
  }

  /** @returns how many had to be changed */
  async apply(decision: 'expire' | 'keep', keys: readonly string[]): Promise<number> {
    const { backups, prefix } = this.#work;
    let changed = 0;
    await forEachOf(keys, AT_ONCE, async (relative) => {
      const key = `${prefix}/${relative}`;
      try {
        for (const change of changeTags(decision, [{ key, tags: await backups.tags(key) }])) {
          await backups.setTags(change.key, change.tags);
          changed += 1;
        }
      } catch (error) {
        this.fail(asLifeboatError(error));
      }
    });
    if (decision === 'expire') this.tagged += changed;
    return changed;
  }

  fail(failure: LifeboatError): void {
    this.#failed += 1;
    if (this.#failures.length < MOST_TOLD) this.#failures.push(failure);
  }

  problems(): LifeboatError[] {
    const more = this.#failed - this.#failures.length;
    if (more === 0) return this.#failures;
    const { app } = this.#work;
    return [
      ...this.#failures,
      new LifeboatError(
        'S3_UNAVAILABLE',
        `${more} more objects of ${app} could not be tagged or removed as expired`,
      ),
    ];
  }

  tell(what: string, fields: Record<string, unknown>): void {
    this.#work.log.info(what, { app: this.#work.app, ...fields });
  }
}
