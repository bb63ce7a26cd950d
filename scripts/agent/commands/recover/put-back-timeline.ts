import { formatInUse } from '../../../../lib/domain/wal/in-use.ts';
import { inUseKey } from '../../../../lib/domain/wal/keys.ts';
import type { InPlaceJournal } from '../../../../lib/domain/base/in-place-journal.ts';
import { asLifeboatError } from '../../../../lib/domain/errors.ts';
import type { InPlacePorts } from '../../ports/in-place.ts';

type PutBackPorts = Pick<InPlacePorts, 'site' | 'app' | 'stores' | 'clock' | 'log'>;

/**
 * Tells S3 that the old cluster's timeline goes on: until its next commit is there, all that S3 has speaks for the recovered
 * one's, which is the newest. That it cannot be told is said, and takes nothing from what was put back.
 */
export async function tellPutBack(ports: PutBackPorts, journal: InPlaceJournal): Promise<void> {
  const { site, app, stores, clock, log } = ports;
  // Without a bucket no WAL is kept.
  if (stores.state.kind !== 's3') return;
  try {
    const [live, aside] = await Promise.all(
      [journal.dataDir, journal.recovered].map(async (each) => (await site.survey(each)).cluster),
    );
    // There was none before, or another one: what was recovered is no branch of it.
    if (!live || live.systemIdentifier !== aside?.systemIdentifier) return;
    const { systemIdentifier, timeline } = live;
    const at = clock.now().toISOString();
    const record = { schemaVersion: 1, kind: 'in use', app, systemIdentifier, timeline, at } as const;
    const body = Buffer.from(formatInUse({ ...record, runId: journal.runId }));
    const key = inUseKey({ app, systemIdentifier }, timeline, at);
    await stores.state.putOnce(key, body, { contentType: 'application/json' });
  } catch (error) {
    log.warn(
      `S3 could not be told that the old timeline goes on: ${asLifeboatError(error).message}. Until its next commit is there, --latest without --timeline means the recovered cluster`,
    );
  }
}
