import type { ListedFile } from '../../../lib/domain/backup/catalog.ts';

/** A versioned bucket with object lock and lifecycle rules, as far as they remove anything. */

export const DAY_MS = 24 * 60 * 60 * 1000;

/** As in a template of CloudFormation. */
export interface Rule {
  readonly Id: string;
  readonly Status: string;
  readonly Prefix?: string;
  readonly TagFilters?: readonly { readonly Key: string; readonly Value: string }[];
  readonly ExpirationInDays?: number;
  readonly ExpiredObjectDeleteMarker?: boolean;
  readonly NoncurrentVersionExpiration?: { readonly NoncurrentDays: number };
  readonly AbortIncompleteMultipartUpload?: unknown;
  readonly Transitions?: unknown;
}

const KNOWN = new Set([
  'Id',
  'Status',
  'Prefix',
  'TagFilters',
  'ExpirationInDays',
  'ExpiredObjectDeleteMarker',
  'NoncurrentVersionExpiration',
  'AbortIncompleteMultipartUpload',
  'Transitions',
]);

export interface BucketTerms {
  readonly rules: readonly Rule[];
  readonly lockDays: number;
  /** Of all keys; the methods leave it out, as a catalog does. */
  readonly prefix: string;
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
  readonly #terms: BucketTerms;

  constructor(terms: BucketTerms) {
    for (const rule of terms.rules)
      for (const name of Object.keys(rule))
        if (!KNOWN.has(name)) throw new Error(`the model of a bucket knows no ${name} (${rule.Id})`);
    this.#terms = terms;
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
    const { lockDays } = this.#terms;
    for (const [key, versions] of this.#objects) {
      const current = this.#current(key);
      const days = current && this.#shortest(key, current, ({ ExpirationInDays }) => ExpirationInDays);
      if (current && days !== undefined && isOlder(current.createdAt, days, midnight)) {
        this.expired.push({ key, createdAt: current.createdAt, at: midnight });
        this.delete(key, midnight);
      }
      const kept = this.#objects.get(key)!.filter((version) => {
        const stay = this.#shortest(key, version, (rule) => rule.NoncurrentVersionExpiration?.NoncurrentDays);
        const over =
          version.replacedAt !== undefined &&
          stay !== undefined &&
          isOlder(version.replacedAt, stay, midnight);
        if (!over || !isOlder(version.createdAt, lockDays, midnight)) return true;
        if (!version.isMarker) this.removed.push({ key, createdAt: version.createdAt, at: midnight });
        return false;
      });
      // A marker that hides nothing any more goes by the rule for expired markers.
      if (kept.every((version) => version.isMarker && this.#clearsMarkers(key, version)))
        this.#objects.delete(key);
      else if (kept.length < versions.length) this.#objects.set(key, kept);
    }
  }

  /** Of the days that rules name which apply to the version. */
  #shortest(key: string, version: Version, daysOf: (rule: Rule) => number | undefined): number | undefined {
    const days = this.#rulesFor(key, version).flatMap((rule) => daysOf(rule) ?? []);
    return days.length === 0 ? undefined : Math.min(...days);
  }

  #clearsMarkers(key: string, version: Version): boolean {
    return this.#rulesFor(key, version).some(({ ExpiredObjectDeleteMarker: clears }) => clears === true);
  }

  #rulesFor(key: string, { tags }: Version): Rule[] {
    const { rules, prefix } = this.#terms;
    return rules.filter(
      ({ Status, Prefix = '', TagFilters = [] }) =>
        Status === 'Enabled' &&
        `${prefix}${key}`.startsWith(Prefix) &&
        TagFilters.every(({ Key, Value }) => tags[Key] === Value),
    );
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
