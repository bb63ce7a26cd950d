import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { formatBaseManifest } from '../../../../lib/domain/base/base-manifest.ts';
import { baseManifestKey, basePrefix, type WalSeries } from '../../../../lib/domain/wal/keys.ts';
import {
  verify,
  type VerifyPorts,
  type VerifyRequest,
} from '../../../../scripts/agent/commands/catalog/verify.ts';
import { openLocalStore } from '../../../../scripts/agent/host/local-store.ts';
import { CLUSTER, sampleBase } from '../../../domain/base/sample-base.ts';

describe('Which base backups are read again', () => {
  const SERIES: WalSeries = { app: 'hostmaster', systemIdentifier: CLUSTER };
  const [OLD, NEW] = ['2026-01-16T02:00:00Z', '2026-01-17T02:00:00Z'].map((time) =>
    sampleBase(new Date(time)),
  ) as [ReturnType<typeof sampleBase>, ReturnType<typeof sampleBase>];
  let folder: string;
  let ports: VerifyPorts;

  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-verify-'));
    const store = openLocalStore(folder);
    for (const manifest of [OLD, NEW]) {
      for (const { key, size } of [...manifest.volumes, manifest.backupManifest!])
        await store.putOnce(basePrefix(SERIES, manifest.label) + key, Buffer.alloc(size));
      await store.putOnce(baseManifestKey(SERIES, manifest.label), Buffer.from(formatBaseManifest(manifest)));
    }
    const nothing = (): void => undefined;
    ports = {
      stores: [store],
      bases: { readVolume: () => Promise.resolve([]), parseManifest: () => [] },
      digests: { digest: () => Promise.resolve({ size: 300, sha256: 'b'.repeat(64) }) },
      journal: { append: () => Promise.resolve() },
      clock: { now: () => new Date(), monotonic: () => 0 },
      log: { info: nothing, warn: nothing },
      progress: { start: nothing, stop: nothing, update: nothing },
      interrupted: new AbortController().signal,
    } as unknown as VerifyPorts;
  });

  afterAll(() => rmSync(folder, { recursive: true }));

  it.each<[Pick<VerifyRequest, 'id' | 'all'>, string[]]>([
    [{ id: undefined, all: true }, [NEW.label, OLD.label]],
    [{ id: undefined, all: 'dumps' }, [NEW.label]],
    [{ id: undefined, all: false }, [NEW.label]],
    [{ id: OLD.label, all: false }, [OLD.label]],
  ])('with %j: %j', async (wish, labels) => {
    const { copies } = await verify(ports, { app: 'hostmaster', runId: 'r', ...wish });
    expect(copies.map(({ id, verdict }) => [id, verdict])).toEqual(labels.map((label) => [label, 'proven']));
  });
});
