import { existsSync, mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import { ChainOfBackups } from '../../../scripts/agent/recovery/chain.ts';

function member(label: string, oids: readonly number[]): BaseManifest {
  const series = ['base', ...oids.map((oid) => `ts-${oid}`), 'wal'];
  return {
    label,
    tablespaces: oids.map((oid) => ({ oid })),
    volumes: series.map((name) => ({ series: name })),
  } as unknown as BaseManifest;
}

describe('The folders of a chain that is to be combined', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-chain-'));
    for (const name of ['data', 'spaces']) mkdirSync(path.join(folder, name));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const layOut = (chain: readonly BaseManifest[]) =>
    new ChainOfBackups({
      place: { dataDir: path.join(folder, 'data'), tablespaceDir: path.join(folder, 'spaces') },
      chain,
      owner: undefined,
      interrupted: new AbortController().signal,
      log: { info: () => undefined } as never,
    }).layOut(({ label }) => `base/${label}/`);

  it('are one for each backup, with what the last one needs of it, kept in memory for who combines them', async () => {
    const members = await layOut([
      member('full', [1, 2]),
      member('first', [1, 2, 3]),
      member('last', [2, 3]),
    ]);
    const series = members.map(({ volumes }) => volumes.map((volume) => volume.series));
    expect(series).toEqual([
      ['base', 'ts-2'],
      ['base', 'ts-2', 'ts-3'],
      ['base', 'ts-2', 'ts-3', 'wal'],
    ]);
    for (const [index, { prefix, readAgain, dataDir, tablespaceDirs }] of members.entries()) {
      expect({ prefix, readAgain }).toEqual({
        prefix: `base/${['full', 'first', 'last'][index]}/`,
        readAgain: true,
      });
      const links = readdirSync(path.join(dataDir, 'pg_tblspc'));
      expect(links).toEqual([...tablespaceDirs!.keys()].map(String));
      for (const [oid, place] of tablespaceDirs!) {
        expect(readlinkSync(path.join(dataDir, 'pg_tblspc', String(oid)))).toBe(place);
        expect(existsSync(place)).toBe(true);
      }
    }
    expect(new Set(members.map(({ dataDir }) => dataDir)).size).toBe(3);
  });

  it('name the backup from which to recover where one is damaged', async () => {
    const [full, last] = await layOut([member('full', []), member('last', [])]);
    expect(full!.hint).toMatch(/Every backup of this chain builds on it\..*--base names one/);
    expect(last!.hint).toContain('--base full');
  });
});
