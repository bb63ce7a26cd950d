import { catalogStore, type BackupCopy, type ListedFile } from '../../../lib/domain/backup/catalog.ts';
import { changeTags, planTagging } from '../../../lib/domain/watch/tagging-plan.ts';
import { sampleManifest } from '../../fixtures/sample-manifest.ts';

const NOW = new Date('2026-03-01T12:00:00Z');
const DAY_MS = 24 * 60 * 60 * 1000;

/** @param receivedDaysAgo by S3's clock; the id's time when left out */
function copyOf(id: string, receivedDaysAgo?: number, parts = ['globals', 'dump', 'manifest']): BackupCopy {
  const stamp = /_(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)$/.exec(id)!;
  const startedAt = `${stamp[1]}-${stamp[2]}-${stamp[3]}T${stamp[4]}:${stamp[5]}:${stamp[6]}.000Z`;
  const modifiedAt =
    receivedDaysAgo === undefined ? new Date(startedAt) : new Date(NOW.getTime() - receivedDaysAgo * DAY_MS);
  const manifest = sampleManifest({ id, startedAt });
  const all: Record<string, ListedFile> = {
    globals: { key: manifest.globals.key, size: manifest.globals.size, modifiedAt },
    dump: { key: manifest.dump.key, size: manifest.dump.size, modifiedAt },
    manifest: { key: `${id}.manifest.json`, size: 1, modifiedAt },
  };
  const files = parts.map((part) => all[part]!);
  const manifests = new Map([[`${id}.manifest.json`, manifest]]);
  return catalogStore('hostmaster', { store: 's3', files, manifests })[0]!;
}

function expired(...copies: BackupCopy[]): string[] {
  return planTagging(copies, { days: 30, now: NOW })
    .expire.map(({ id }) => id.slice('hostmaster_db_'.length))
    .toSorted();
}

const NEWEST = copyOf('hostmaster_db_20260301_020000');

describe('what the lifecycle may remove', () => {
  it('is over, and superseded by a newer verified backup', () => {
    const copies = ['20260101_020000', '20260130_115959', '20260130_120001', '20260215_020000'];
    expect(expired(NEWEST, ...copies.map((time) => copyOf(`hostmaster_db_${time}`)))).toEqual([
      '20260101_020000',
      '20260130_115959',
    ]);
  });

  it('is nothing while no newer one is verified', () => {
    const old = copyOf('hostmaster_db_20250101_020000');
    const unproven = copyOf('hostmaster_db_20260228_020000', undefined, ['dump']);
    const killed = copyOf('hostmaster_db_20260227_020000', undefined, ['globals', 'dump']);
    expect(expired(old, unproven, killed)).toEqual([]);
  });

  it('includes what killed runs and the user’s old scripts left', () => {
    const dump = copyOf('hostmaster_db_20250101_020000', undefined, ['dump']);
    const killed = copyOf('hostmaster_db_20250102_020000', undefined, ['globals', 'dump']);
    const alone = copyOf('hostmaster_db_20250103_020000', undefined, ['manifest']);
    expect(expired(NEWEST, dump, killed, alone)).toEqual([
      '20250101_020000',
      '20250102_020000',
      '20250103_020000',
    ]);
  });

  it('is not what S3 received a few days ago, whatever its name says', () => {
    const reuploaded = copyOf('hostmaster_db_20250101_020000', 5);
    expect(expired(NEWEST, reuploaded)).toEqual([]);
  });

  it('is what a wrong clock dated into the future, once it is old by S3’s clock', () => {
    const ahead = copyOf('hostmaster_db_20991231_020000', 40);
    expect(expired(NEWEST, ahead)).toEqual(['20991231_020000']);
    expect(expired(NEWEST, copyOf('hostmaster_db_20991231_020000', 20))).toEqual([]);
  });

  it('is not the newest by S3’s clock, though a wrong clock dated it into the past', () => {
    const before = copyOf('hostmaster_db_20260120_020000');
    const behind = copyOf('hostmaster_db_20200101_020000', 31);
    const { expire, keep } = planTagging([before, behind], { days: 30, now: NOW });
    expect(expire).toEqual([]);
    expect(keep.map(({ id }) => id)).toEqual([before.id, behind.id]);
  });
});

describe('tags', () => {
  const expirable = { lifeboat: 'expirable' };

  it('are added beside those that are there, and only where they are missing', () => {
    const objects = [
      { key: 'a', tags: { team: 'db' } },
      { key: 'b', tags: expirable },
    ];
    expect(changeTags('expire', objects)).toEqual([{ key: 'a', tags: { team: 'db', ...expirable } }]);
    expect(changeTags('keep', objects)).toEqual([{ key: 'b', tags: {} }]);
  });

  it('of a pinned backup are taken off all of its objects', () => {
    const objects = [
      { key: 'a', tags: { 'lifeboat-pin': '', ...expirable } },
      { key: 'b', tags: expirable },
      { key: 'c', tags: {} },
    ];
    expect(changeTags('expire', objects)).toEqual([
      { key: 'a', tags: { 'lifeboat-pin': '' } },
      { key: 'b', tags: {} },
    ]);
  });
});
