import type { WalSeries } from '../lib/domain/wal/keys.ts';
import { damagedBy, verdictPrefix, type Damage, type VerdictFile } from '../lib/domain/wal/verdicts.ts';
import type { Bucket } from './bucket.ts';

interface VerdictPlace {
  readonly state: Bucket;
  /** Of the folder, without a slash at its end. */
  readonly prefix: string;
  readonly series: WalSeries;
}

export interface ListedVerdicts {
  /** Keys without the prefix. */
  readonly files: readonly VerdictFile[];
  /** There are more, which are passed over. */
  readonly more: boolean;
}

/** Of one cluster. Hosts write them: what one writes beyond that fills no function's memory. */
export const MOST_VERDICTS = 10_000;
/** As many as one page of a listing. */
const STEP = 1000;

/** By base backup's label or segment's name. Of more than `MOST_VERDICTS` the retention tells. */
export async function readDamaged(place: VerdictPlace): Promise<Map<string, Damage>> {
  const listing = listVerdicts(place);
  let step = await listing.next();
  while (!step.done) step = await listing.next();
  return damagedBy(step.value.files);
}

/** Page by page. */
export async function* listVerdicts({
  state,
  prefix,
  series,
}: VerdictPlace): AsyncGenerator<undefined, ListedVerdicts> {
  const files: VerdictFile[] = [];
  for await (const { key, modifiedAt } of state.list(`${prefix}/${verdictPrefix(series)}`)) {
    if (files.length === MOST_VERDICTS) return { files, more: true };
    files.push({ key: key.slice(prefix.length + 1), modifiedAt });
    if (files.length % STEP === 0) yield undefined;
  }
  return { files, more: false };
}
