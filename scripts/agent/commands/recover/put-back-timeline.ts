import { formatInUse } from '../../../../lib/domain/wal/in-use.ts';
import { inUseKey } from '../../../../lib/domain/wal/keys.ts';
import type { InPlaceJournal } from '../../../../lib/domain/base/in-place-journal.ts';
import { asLifeboatError } from '../../../../lib/domain/errors.ts';
import type { InPlacePorts } from '../../ports/in-place.ts';

type PutBackPorts = Pick<InPlacePorts, 'site' | 'app' | 'stores' | 'clock' | 'log'>;

/**
 * Tells S3 which timeline goes on: until its next commit is there, all that S3 has speaks for the other one. That it cannot be told
 * is said, and takes nothing from what was put in place.
 * @param aside where the other cluster lies; `null`: there is none
 */
export async function tellPutBack(
  ports: PutBackPorts,
  { dataDir, runId }: InPlaceJournal,
  aside: string | null,
): Promise<void> {
  const { site, app, stores, clock, log } = ports;
  // Without a bucket no WAL is kept.
  if (stores.state.kind !== 's3' || aside === null) return;
  try {
    const [live, other] = await Promise.all(
      [dataDir, aside].map(async (each) => (await site.survey(each)).cluster),
    );
    // There was none before, or another one: what was recovered is no branch of it.
    if (!live || live.systemIdentifier !== other?.systemIdentifier) return;
    const { systemIdentifier, timeline } = live;
    const at = clock.now().toISOString();
    const record = { schemaVersion: 1, kind: 'in use', app, systemIdentifier, timeline, at } as const;
    const body = Buffer.from(formatInUse({ ...record, runId }));
    const key = inUseKey({ app, systemIdentifier }, timeline, at);
    await stores.state.putOnce(key, body, { contentType: 'application/json' });
  } catch (error) {
    log.warn(
      `S3 could not be told which timeline goes on: ${asLifeboatError(error).message}. Until its next commit is there, name it in a recovery: --timeline <n>`,
    );
  }
}
