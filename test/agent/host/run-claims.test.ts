import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { openRunClaims } from '../../../scripts/agent/host/run-claims.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const HASH = '0123456789ab';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-claims-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const idOf = (daysAgo: number, hash = HASH): string => {
  const stamp = new Date(Date.now() - daysAgo * DAY_MS).toISOString().slice(0, 19).replaceAll(/[-:]/g, '');
  return `${stamp}Z-${hash}`;
};

/** Of a run so many days ago; its file is as old unless said otherwise. */
function note(daysAgo: number, fileDaysAgo = daysAgo): string {
  const id = idOf(daysAgo);
  const file = path.join(folder, id);
  writeFileSync(file, 'note');
  const time = new Date(Date.now() - fileDaysAgo * DAY_MS);
  utimesSync(file, time, time);
  return id;
}

const claim = (runId: string): Promise<boolean> => openRunClaims(folder, 'note').claim(runId);

describe('The notes of the runs that a host has taken on', () => {
  it('go after 90 days, and no sooner', async () => {
    const [kept, old] = [note(89), note(91)];
    expect(await claim(idOf(0))).toBe(true);
    expect(existsSync(path.join(folder, kept))).toBe(true);
    expect(existsSync(path.join(folder, old))).toBe(false);
  });

  it('stay where only one of the two clocks calls them old', async () => {
    // The file is young: the id came from a clock that was wrong. And an id that is young, of an old file.
    const both = [note(400, 1), note(1, 400)];
    await claim(idOf(0));
    expect(readdirSync(folder)).toEqual(expect.arrayContaining(both));
  });

  it('make no run possible again by going', async () => {
    const old = note(91);
    expect(await claim(old)).toBe(false);
    expect(await claim(idOf(0))).toBe(true);
    expect(existsSync(path.join(folder, old))).toBe(false);
    expect(await claim(old)).toBe(false);
    expect(await claim(idOf(100, 'ba9876543210'))).toBe(false);
  });

  it('are all that is removed: not what is called otherwise, nor folders and links', async () => {
    const other = path.join(folder, 'README');
    writeFileSync(other, 'ours');
    utimesSync(other, new Date(0), new Date(0));
    mkdirSync(path.join(folder, idOf(100)));
    symlinkSync(other, path.join(folder, idOf(101)));
    expect(await claim(idOf(0))).toBe(true);
    expect(readdirSync(folder)).toHaveLength(4);
  });
});
