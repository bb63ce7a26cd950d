import {
  catalogBases,
  isUsable,
  newestUsable,
  separateClusters,
  type Base,
} from '../../../lib/domain/base/base-catalog.ts';
import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import type { ListedFile } from '../../../lib/domain/backup/catalog.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { baseManifestKey, basePrefix } from '../../../lib/domain/wal/keys.ts';
import { mulberry32 } from '../../lambda/start-run/virtual-time.ts';
import { at, fullManifest, incrementalManifest } from './manifests.ts';

/** As they lie in the bucket; `lose` the objects whose keys end so. */
function catalog(
  manifests: readonly BaseManifest[],
  {
    lose = [],
    replace = new Map(),
    failed = new Map(),
  }: {
    lose?: readonly string[];
    replace?: ReadonlyMap<string, BaseManifest | Error>;
    failed?: ReadonlyMap<string, string>;
  } = {},
): Base[] {
  const files: ListedFile[] = [];
  const read = new Map<string, BaseManifest | Error>();
  for (const manifest of manifests) {
    const series = { app: manifest.app, systemIdentifier: manifest.server.systemIdentifier };
    const prefix = basePrefix(series, manifest.label);
    const modifiedAt = new Date(manifest.finishedAt);
    for (const { key, size } of [...manifest.volumes, manifest.backupManifest!])
      files.push({ key: prefix + key, size, modifiedAt });
    files.push({ key: baseManifestKey(series, manifest.label), size: 5000, modifiedAt });
    read.set(baseManifestKey(series, manifest.label), replace.get(manifest.label) ?? manifest);
  }
  const there = files.filter(({ key }) => !lose.some((end) => key.endsWith(end)));
  const keys = new Set(there.map(({ key }) => key));
  const manifestsThere = new Map([...read].filter(([key]) => keys.has(key)));
  return catalogBases('hostmaster', { files: there, manifests: manifestsThere }, failed);
}

function statesOf(bases: readonly Base[]): Record<string, string> {
  return Object.fromEntries(
    bases.map(({ label, state, why }) => [label.slice(-15), why === undefined ? state : `${state}: ${why}`]),
  );
}

const FULL = fullManifest();
const MONDAY = incrementalManifest(FULL);
const TUESDAY = incrementalManifest(MONDAY);

describe('The catalogue of base backups', () => {
  it('has a full one usable by itself, and an incremental one with all it builds on', () => {
    const [tuesday, monday, full] = catalog([MONDAY, FULL, TUESDAY]);
    expect(statesOf([full!, monday!, tuesday!])).toEqual({
      '20260117_020000': 'usable',
      '20260118_020000': 'usable',
      '20260119_020000': 'usable',
    });
    expect(full!.chain).toEqual([FULL]);
    expect(tuesday!.chain).toEqual([FULL, MONDAY, TUESDAY]);
    expect(tuesday!.files).toHaveLength(5);
    expect(tuesday!.time).toEqual(new Date(TUESDAY.finishedAt));
  });

  it('says what is missing or of another size, and breaks the chains upon it', () => {
    const bases = catalog([FULL, MONDAY, TUESDAY], { lose: ['20260118_020000/ts-16400-00001.tar.zst'] });
    expect(statesOf(bases)).toEqual({
      '20260117_020000': 'usable',
      '20260118_020000': 'damaged: ts-16400-00001.tar.zst is missing',
      '20260119_020000':
        'chain broken: hostmaster_base_20260118_020000, which it builds on, is damaged: ts-16400-00001.tar.zst is missing',
    });
    expect(bases.filter(isUsable).map(({ manifest }) => manifest)).toEqual([FULL]);
    expect(bases[0]!.chain).toEqual([]);
    const other = { ...FULL, backupManifest: { ...FULL.backupManifest!, size: 1 } };
    const [shrunk] = catalog([FULL], { replace: new Map([[FULL.label, other]]) });
    expect(shrunk).toMatchObject({ state: 'damaged', why: 'backup_manifest has 200000 bytes instead of 1' });
  });

  it('does not use one whose parent is gone, or is another than the one it was made upon', () => {
    const alone = catalog([MONDAY, TUESDAY]);
    expect(alone.map(({ state }) => state)).toEqual(['chain broken', 'chain broken']);
    expect(alone[0]!.why).toBe('hostmaster_base_20260117_020000, which it builds on, is missing');
    const full = { ...MONDAY, type: 'full' as const, parent: null, chain: [] };
    const [tuesday] = catalog([FULL, MONDAY, TUESDAY], { replace: new Map([[MONDAY.label, full]]) });
    expect(tuesday!.why).toBe('hostmaster_base_20260118_020000, which it builds on, has another chain: none');
  });

  it('takes volumes without a manifest for no backup, of any age', () => {
    const [tuesday, monday, full] = catalog([FULL, MONDAY, TUESDAY], {
      lose: ['20260118_020000/manifest.json'],
    });
    expect(monday).toMatchObject({ state: 'unfinished', why: 'it has no manifest', manifest: undefined });
    expect(monday!.time).toEqual(new Date('2026-01-18T02:00:00Z'));
    expect(full!.state).toBe('usable');
    expect(tuesday!.state).toBe('chain broken');
  });

  it('keeps apart what cannot be read, is another’s, or was proven wrong', () => {
    const newer = new LifeboatError('MANIFEST_NEWER', 'it has schema version 2');
    const stranger = { ...FULL, server: { ...FULL.server, systemIdentifier: '42' } };
    const states = (replace: BaseManifest | Error): Base =>
      catalog([FULL], { replace: new Map([[FULL.label, replace]]) })[0]!;
    expect(states(newer)).toMatchObject({
      state: 'unreadable',
      why: 'it has schema version 2',
      unreadable: newer,
    });
    expect(states(stranger)).toMatchObject({
      state: 'unreadable',
      why: 'its manifest is that of the cluster 42',
    });
    expect(states(MONDAY)).toMatchObject({
      state: 'unreadable',
      why: `its manifest is that of ${MONDAY.label}`,
    });
    const [failed] = catalog([FULL], {
      failed: new Map([[FULL.label, 'base-00001.tar.zst: wrong SHA-256']]),
    });
    expect(failed).toMatchObject({ state: 'damaged', why: 'base-00001.tar.zst: wrong SHA-256' });
    const listed = catalogBases('hostmaster', { files: catalog([FULL])[0]!.files, manifests: new Map() });
    expect(listed[0]).toMatchObject({ state: 'unreadable', why: 'its manifest was not read' });
  });

  it('never sees another app’s, whose name begins alike', () => {
    const staging = at(new Date('2026-01-17T02:00:00Z'), { app: 'hostmaster_staging' });
    expect(catalog([staging, FULL]).map(({ label }) => label)).toEqual([FULL.label]);
  });

  it('separates clusters, and puts the one with the newest usable backup first, whatever timelines say', () => {
    const server = { ...FULL.server, systemIdentifier: '42' };
    const upgraded = at(new Date('2026-01-20T02:00:00Z'), { server, startTimeline: 1, stopTimeline: 1 });
    const old = at(new Date('2026-01-19T02:00:00Z'), {
      startTimeline: 7,
      stopTimeline: 7,
      startLsn: 'A/0',
      stopLsn: 'A/1',
    });
    const clusters = separateClusters(catalog([old, upgraded, FULL]));
    expect(clusters.map((each) => [each.systemIdentifier, each.bases.map(({ label }) => label)])).toEqual([
      ['42', [upgraded.label]],
      ['7300000000000000001', [old.label, FULL.label]],
    ]);
    const broken = separateClusters(
      catalog([old, upgraded, FULL], { lose: ['20260120_020000/wal-00001.tar.zst'] }),
    );
    expect(broken[0]!.systemIdentifier).toBe('42');
    const { label } = newestUsable(
      catalog([old, upgraded, FULL], { lose: ['20260120_020000/wal-00001.tar.zst'] }),
    )!;
    expect(label).toBe(old.label);
  });

  it('goes by recorded time, not by the label, and takes none from the future while there is another', () => {
    const late = at(new Date('2026-01-16T02:00:00Z'), { finishedAt: '2026-01-18T00:00:00.000Z' });
    const future = at(new Date('2036-01-16T02:00:00Z'));
    const bases = catalog([FULL, late, future]);
    const now = new Date('2026-01-18T12:00:00Z');
    expect(newestUsable(bases, now)!.label).toBe(late.label);
    expect(newestUsable(bases)!.label).toBe(future.label);
    expect(newestUsable(catalog([future]), now)!.label).toBe(future.label);
    expect(newestUsable([], now)).toBeUndefined();
  });

  it('gives the same verdicts whatever the order of the listing, and never a chain with a hole', () => {
    const chance = mulberry32(6);
    const manifests: BaseManifest[] = [];
    for (let day = 0; day < 40; day += 1) {
      const start = new Date(Date.UTC(2026, 0, 1 + day, 2));
      const parent = manifests.at(-1);
      const full = day % 7 === 0 || !parent;
      manifests.push(full ? at(start) : incrementalManifest(parent));
    }
    for (let round = 0; round < 40; round += 1) {
      const lose = manifests.filter(() => chance() < 0.1).map(({ label }) => `${label}/base-00001.tar.zst`);
      const bases = catalog(
        manifests.toSorted(() => chance() - 0.5),
        { lose },
      );
      const lost = new Set(lose.map((end) => end.split('/')[0]));
      for (const base of bases) {
        const needed = [...base.manifest!.chain, base.label];
        expect(isUsable(base)).toBe(!needed.some((label) => lost.has(label)));
        if (isUsable(base)) expect(base.chain.map(({ label }) => label)).toEqual(needed);
      }
    }
  });
});
