import { asLifeboatError } from '../../../lib/domain/errors.ts';
import type { WalSeries } from '../../../lib/domain/wal/keys.ts';
import {
  damagedBy,
  formatVerdict,
  verdictKey,
  verdictPrefix,
  type Damage,
  type VerdictFile,
} from '../../../lib/domain/wal/verdicts.ts';
import type { Clock, Log } from '../ports/host.ts';
import type { ObjectStore } from '../ports/store.ts';

/** What verifications called damaged, by base backup's label or segment's name. @param state as of the WAL */
export async function readDamaged(state: ObjectStore, series: WalSeries): Promise<Map<string, Damage>> {
  const files: VerdictFile[] = [];
  for await (const file of state.list(verdictPrefix(series))) files.push(file);
  return damagedBy(files);
}

interface Verified {
  readonly series: WalSeries;
  readonly runId: string;
  /** By base backup's label or segment's name: what is wrong with it. */
  readonly damaged: ReadonlyMap<string, string>;
  /** Whether it was looked at, and is as it should be unless it is among the damaged. */
  readonly looked: (object: string) => boolean;
}

/** Where a verification leaves what it found, for those who do not share this host's journal. */
export interface Verdicts {
  /** Writes what is new. That it cannot be written is told, and takes nothing from the verification itself. */
  settle(verified: Verified): Promise<void>;
}

/** @param state as of the WAL: verdicts are no backups */
export function openVerdicts({
  state,
  clock,
  log,
}: {
  state: ObjectStore;
  clock: Clock;
  log: Log;
}): Verdicts {
  const write = async (
    { series, runId }: Verified,
    object: string,
    found: 'damaged' | 'sound',
    why: string | null,
  ): Promise<void> => {
    const at = clock.now().toISOString();
    const verdict = { schemaVersion: 1, kind: 'verdict', ...series, object, found, at, runId, why } as const;
    await state.putOnce(verdictKey(verdict), Buffer.from(formatVerdict(verdict)), {
      contentType: 'application/json',
    });
  };
  return {
    settle: async (verified) => {
      const { series, damaged, looked } = verified;
      try {
        const known = await readDamaged(state, series);
        for (const [object, why] of damaged)
          if (!known.has(object)) await write(verified, object, 'damaged', why);
        for (const object of known.keys())
          if (!damaged.has(object) && looked(object)) await write(verified, object, 'sound', null);
      } catch (error) {
        log.warn(`What was found could not be written down in S3: ${asLifeboatError(error).message}`);
      }
    },
  };
}
