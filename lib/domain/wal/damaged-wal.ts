import type { WalArchive } from './archive.ts';
import type { HoleRecord } from './hole.ts';
import type { WalSeries } from './keys.ts';
import { formatLsn } from './lsn.ts';
import { parseSegmentName } from './segment.ts';
import type { Damage } from './verdicts.ts';

/** What verifications called damaged counts as missing, and says why. @param damaged by name; what is no segment's is passed over */
export function holesOfDamaged(
  damaged: ReadonlyMap<string, Damage>,
  { series, segmentSize }: { readonly series: WalSeries; readonly segmentSize: number },
): HoleRecord[] {
  return [...damaged].flatMap(([name, { at, why }]): HoleRecord[] => {
    const segment = parseSegmentName(name, segmentSize);
    if (!segment) return [];
    const { timeline, start } = segment;
    const [from, to] = [formatLsn(start), formatLsn(start + BigInt(segmentSize))];
    const told = { since: null, recordedAt: at, runId: '', reason: why };
    return [{ schemaVersion: 1, kind: 'hole', ...series, timeline, from, to, ...told }];
  });
}

/**
 * The archive as it is for who believes the verifications; the same one where they called nothing in it damaged. Recovery takes
 * the complete segment where there is one: neither its pieces nor a partial one lead round it.
 */
export function withoutDamaged(archive: WalArchive, damaged: ReadonlyMap<string, Damage>): WalArchive {
  const { segments, partials, pieces, holes } = archive;
  const found = new Map([...damaged].filter(([name]) => segments.has(name)));
  if (found.size === 0) return archive;
  const isSound = ([name]: readonly [string, unknown]): boolean => !found.has(name);
  return {
    ...archive,
    segments: segments.without(found.keys()),
    partials: new Map([...partials].filter(isSound)),
    pieces: new Map([...pieces].filter(isSound)),
    holes: [...holes, ...holesOfDamaged(found, archive)],
  };
}
