import type { ListedFile } from '../../../lib/domain/backup/catalog.ts';
import { OBJECT_TAG } from '../../../lib/domain/names.ts';

/** A versioned bucket with object lock and the storage stack's lifecycle rules, as far as they remove anything. */

export const DAY_MS = 24 * 60 * 60 * 1000;

export interface Lifetimes {
  readonly expirationDays: number;
  readonly noncurrentDays: number;
  readonly lockDays: number;
}

interface Version {
  readonly createdAt: number;
  readonly size: number;
  readonly isMarker: boolean;
  tags: Readonly<Record<string, string>>;
  /** When the next version came; `undefined` for the current one. */
  replacedAt: number | undefined;
}

export interface Expiry {
  readonly key: string;
  readonly createdAt: number;
  readonly at: number;
}

export class BucketModel {
  /** What the lifecycle hid behind a delete marker. */
  readonly expired: Expiry[] = [];
  /** What the lifecycle removed for good. */
  readonly removed: Expiry[] = [];
  /** Changes with what a listing shows. */
  revision = 0;
  readonly #objects = new Map<string, Version[]>();
  readonly #lifetimes: Lifetimes;

  constructor(lifetimes: Lifetimes) {
    this.#lifetimes = lifetimes;
  }

  /** If-None-Match: what is there stays. */
  putOnce(key: string, size: number, now: number): void {
    if (!this.#current(key))
      this.#add(key, { createdAt: now, size, isMarker: false, tags: {}, replacedAt: undefined });
  }

  /** As an operator may: a marker, because the versions are locked. */
  delete(key: string, now: number): void {
    if (this.#current(key))
      this.#add(key, { createdAt: now, size: 0, isMarker: true, tags: {}, replacedAt: undefined });
  }

  list(prefix: string): ListedFile[] {
    return [...this.#objects.keys()].sort().flatMap((key) => {
      const version = key.startsWith(prefix) ? this.#current(key) : undefined;
      return version ? [{ key, size: version.size, modifiedAt: new Date(version.createdAt) }] : [];
    });
  }

  has(key: string): boolean {
    return this.#current(key) !== undefined;
  }

  tags(key: string): Readonly<Record<string, string>> {
    return this.#current(key)?.tags ?? {};
  }

  setTags(key: string, tags: Readonly<Record<string, string>>): void {
    const version = this.#current(key);
    if (version) version.tags = tags;
  }

  /** Once a day; S3 rounds an object's age to the next midnight, so a rule of n days acts on day n + 1. */
  runLifecycle(midnight: number): void {
    const { expirationDays, noncurrentDays, lockDays } = this.#lifetimes;
    for (const [key, versions] of this.#objects) {
      const current = this.#current(key);
      const expirable = current?.tags[OBJECT_TAG.expirable.key] === OBJECT_TAG.expirable.value;
      if (current && expirable && isOlder(current.createdAt, expirationDays, midnight)) {
        this.expired.push({ key, createdAt: current.createdAt, at: midnight });
        this.delete(key, midnight);
      }
      const kept = this.#objects.get(key)!.filter((version) => {
        const over =
          version.replacedAt !== undefined && isOlder(version.replacedAt, noncurrentDays, midnight);
        if (!over || !isOlder(version.createdAt, lockDays, midnight)) return true;
        if (!version.isMarker) this.removed.push({ key, createdAt: version.createdAt, at: midnight });
        return false;
      });
      // A marker that hides nothing any more goes by the rule for expired markers.
      if (kept.every(({ isMarker }) => isMarker)) this.#objects.delete(key);
      else if (kept.length < versions.length) this.#objects.set(key, kept);
    }
  }

  #current(key: string): Version | undefined {
    const last = this.#objects.get(key)?.at(-1);
    return last && !last.isMarker ? last : undefined;
  }

  #add(key: string, version: Version): void {
    this.revision += 1;
    const versions = this.#objects.get(key) ?? [];
    const last = versions.at(-1);
    if (last) last.replacedAt = version.createdAt;
    this.#objects.set(key, [...versions, version]);
  }
}

/** Midnight after the day on which the age is reached. */
function isOlder(since: number, days: number, midnight: number): boolean {
  return midnight >= Math.ceil((since + days * DAY_MS) / DAY_MS) * DAY_MS;
}
