import type { WalSeries } from '../lib/domain/wal/keys.ts';
import { damagedBy, verdictPrefix, type Damage, type VerdictFile } from '../lib/domain/wal/verdicts.ts';
import type { Bucket } from './bucket.ts';

interface VerdictPlace {
  readonly state: Bucket;
  /** Of the folder, without a slash at its end. */
  readonly prefix: string;
  readonly series: WalSeries;
}

/** By base backup's label or segment's name. */
export async function readDamaged(place: VerdictPlace): Promise<Map<string, Damage>> {
  return damagedBy(await listVerdicts(place));
}

/** Keys without the prefix. */
export async function listVerdicts({ state, prefix, series }: VerdictPlace): Promise<VerdictFile[]> {
  const files: VerdictFile[] = [];
  for await (const { key, modifiedAt } of state.list(`${prefix}/${verdictPrefix(series)}`))
    files.push({ key: key.slice(prefix.length + 1), modifiedAt });
  return files;
}
