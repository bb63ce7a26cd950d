import { basePrefix } from '../wal/keys.ts';
import type { Base, BaseState } from './base-catalog.ts';
import { holdsDamage } from './increment.ts';

/** A base backup as listings tell of it. */
export interface ReportedBase {
  readonly label: string;
  readonly time: Date;
  readonly systemIdentifier: string;
  /** Of all its volumes; of an unfinished one, of what is there. */
  readonly bytes: number;
  readonly type: 'full' | 'incremental' | undefined;
  /** What it is combined with, the full one first. */
  readonly chain: readonly string[];
  readonly url: string;
  /** `damaged pages`: whole, but of a cluster in which PostgreSQL found some. */
  readonly state: BaseState | 'damaged pages';
  readonly detail: string | undefined;
}

/** @param urlOf of a key relative to the store's prefix */
export function reportBase(base: Base, urlOf: (key: string) => string): ReportedBase {
  const { series, label, time, manifest, files } = base;
  const hurt = base.state === 'usable' && holdsDamage(base);
  return {
    label,
    time,
    systemIdentifier: series.systemIdentifier,
    bytes: files.reduce((sum, { size }) => sum + size, 0),
    type: manifest?.type,
    chain: manifest?.chain ?? [],
    url: urlOf(basePrefix(series, label)),
    state: hurt ? 'damaged pages' : base.state,
    detail: hurt ? `PostgreSQL found ${manifest!.pageChecksums.failures} in it` : base.why,
  };
}
