import { existsSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PutObjectTaggingCommand } from '@aws-sdk/client-s3';
import { DAY_MS, idAt, layOlderTwin, Stage, useGround, type BackupJson } from './backup-fixture.ts';

const ground = useGround();

const DATABASE = 'hostmaster_prod';

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.createDatabase(DATABASE);
  await postgres.psql(DATABASE, 'CREATE TABLE users AS SELECT generate_series(1, 1000) AS id');
});

type Overrides = Record<string, string | undefined>;

const setStage = (env: Overrides = {}): Promise<Stage> => Stage.set(ground(), { DB_NAME: DATABASE, ...env });
const localOnly = { S3_BUCKET: undefined };

async function backUp(stage: Stage, env: Overrides = {}): Promise<BackupJson> {
  const end = await stage.run(['backup', '--json'], env);
  expect(end.printed).toContain('✅ Backup completed successfully');
  return end.json() as BackupJson;
}

const filesOf = (...ids: string[]): string[] =>
  ids.flatMap((id) => [`${id}.globals.sql.gz`, `${id}.manifest.json`, `${id}.sql.gz`]).toSorted();

const legacy = (daysAgo: number): string => `${idAt(new Date(Date.now() - daysAgo * DAY_MS))}.sql.gz`;

interface Decision {
  readonly id: string;
  readonly expire: boolean;
  readonly reason: string;
}

interface RetentionJson {
  readonly local: { readonly action: string; readonly decisions: readonly Decision[] };
  readonly s3?: { readonly action: string; readonly decisions: readonly Decision[] };
}

const going = (decisions: readonly Decision[] | undefined): string[] =>
  (decisions ?? []).filter(({ expire }) => expire).map(({ id }) => id);

async function retain(stage: Stage, ...options: string[]): Promise<RetentionJson> {
  const end = await stage.run(['retention', '--json', ...options]);
  expect(end.stderr).toBe('');
  expect(end.status).toBe(0);
  return end.json() as RetentionJson;
}

describe('the local retention after a backup', () => {
  it('removes what is seven days old, says so, and leaves S3 as it is', async () => {
    const stage = await setStage();
    const { id } = await backUp(stage);
    const six = await layOlderTwin(stage, id, 6.9, { stores: ['local', 's3'] });
    const seven = await layOlderTwin(stage, id, 7, { stores: ['local', 's3'] });
    const hundred = await layOlderTwin(stage, id, 100, { stores: ['local', 's3'] });
    const end = await stage.run(['backup', '--json']);
    const next = end.json() as BackupJson;
    expect(next.expired.toSorted()).toEqual([hundred, seven].toSorted());
    expect(end.stderr).toContain(`Removed ${hundred}: older than 7 days`);
    expect(stage.files()).toEqual(filesOf(id, six, next.id));
    expect(await stage.keys()).toEqual(filesOf(id, six, seven, hundred, next.id));
    const asked = new Set(stage.requests().map(({ action }) => action));
    expect([...asked].filter((action) => /Delete|PutObjectTagging/.test(action))).toEqual([]);
  });

  it('goes by LOCAL_RETENTION_DAYS', async () => {
    const stage = await setStage(localOnly);
    const { id } = await backUp(stage);
    const older = await layOlderTwin(stage, id, 20);
    expect((await backUp(stage, { LOCAL_RETENTION_DAYS: '21' })).expired).toEqual([]);
    expect((await backUp(stage, { LOCAL_RETENTION_DAYS: '20' })).expired).toEqual([older]);
  });

  it('removes dumps of the user’s old scripts by the same rule, and no other file', async () => {
    const stage = await setStage(localOnly);
    await backUp(stage);
    const others = ['notes.txt', 'hostmaster_db.sql.gz', 'hostmaster_staging_db_20200101_000000.sql.gz'];
    const [young, old] = [legacy(3), legacy(30)];
    for (const name of [...others, young, old]) writeFileSync(path.join(stage.dir, name), 'x');
    expect((await backUp(stage)).expired).toEqual([old.replace('.sql.gz', '')]);
    for (const name of [...others, young]) expect(existsSync(path.join(stage.dir, name))).toBe(true);
    expect(existsSync(path.join(stage.dir, old))).toBe(false);
  });

  it('does not run when the backup failed: the last good ones stay, however old', async () => {
    const stage = await setStage(localOnly);
    const { id } = await backUp(stage);
    const twins = [await layOlderTwin(stage, id, 50), await layOlderTwin(stage, id, 60)];
    for (const name of filesOf(id)) rmSync(path.join(stage.dir, name));
    expect((await stage.run(['backup'], { DB_PASSWORD: 'wrong' })).status).toBe(4);
    expect(stage.files()).toEqual(filesOf(...twins));
  });
});

describe('lifeboat retention', () => {
  it('shows with --dry-run for both stores what would go and why, and changes nothing', async () => {
    const stage = await setStage();
    const { id } = await backUp(stage);
    const ten = await layOlderTwin(stage, id, 10, { stores: ['local', 's3'] });
    const forty = await layOlderTwin(stage, id, 40, { stores: ['local', 's3'] });
    const end = await stage.run(['retention', '--dry-run']);
    const lines = end.stdout.split('\n');
    const newest = `${id} .* stays +the newest verified backup is never removed$`;
    const line = (pattern: string): RegExp => new RegExp(`^${pattern}`, 'm');
    expect(end.stdout).toMatch(line('Local:$'));
    expect(end.stdout).toMatch(line('S3:$'));
    expect(end.stdout.match(new RegExp(newest, 'gm'))).toHaveLength(2);
    const [local, s3] = [lines.slice(0, lines.indexOf('S3:')), lines.slice(lines.indexOf('S3:'))].map(
      (part) => part.join('\n'),
    );
    expect(local).toMatch(line(`${ten} .* would go +10 days old, kept for 7 days; newer: ${id}$`));
    expect(local).toMatch(line(`${forty} .* would go`));
    expect(s3).toMatch(line(`${ten} .* stays +10 days old, kept for 30 days$`));
    expect(s3).toMatch(line(`${forty} .* would go`));
    expect(end.stdout).toContain('with an operator’s rights: lifeboat retention --apply');
    expect(end.status).toBe(0);
    expect(stage.files()).toEqual(filesOf(id, ten, forty));
    expect(await stage.keys()).toEqual(filesOf(id, ten, forty));
    for (const key of filesOf(forty)) expect(await stage.tags(key)).toEqual({});
  });

  it('removes local files without --apply, and nothing in S3', async () => {
    const stage = await setStage();
    const { id } = await backUp(stage);
    const forty = await layOlderTwin(stage, id, 40, { stores: ['local', 's3'] });
    const { local, s3 } = await retain(stage);
    expect([local.action, going(local.decisions)]).toEqual(['removed', [forty]]);
    expect([s3?.action, going(s3?.decisions)]).toEqual(['none', [forty]]);
    expect(stage.files()).toEqual(filesOf(id));
    expect(await stage.keys()).toEqual(filesOf(id, forty));
    for (const key of filesOf(forty)) expect(await stage.tags(key)).toEqual({});
  });

  it('tags with --apply what may go in S3, keeps the tags that are there, and tags nothing else', async () => {
    const stage = await setStage();
    const { id } = await backUp(stage);
    const twenty = await layOlderTwin(stage, id, 20, { stores: ['s3'] });
    const forty = await layOlderTwin(stage, id, 40, { stores: ['s3'] });
    await tag(stage, `${forty}.sql.gz`, { team: 'db' });
    const old = legacy(60);
    await stage.put(old, 'x');
    expect((await retain(stage, '--apply')).s3?.action).toBe('tagged');
    expect(await stage.tags(`${forty}.sql.gz`)).toEqual({ team: 'db', lifeboat: 'expirable' });
    expect(await stage.tags(`${forty}.globals.sql.gz`)).toEqual({ lifeboat: 'expirable' });
    expect(await stage.tags(`${forty}.manifest.json`)).toEqual({ lifeboat: 'expirable' });
    expect(await stage.tags(old)).toEqual({ lifeboat: 'expirable' });
    for (const key of filesOf(id, twenty)) expect(await stage.tags(key)).toEqual({});
    expect(await stage.keys()).toEqual([...filesOf(id, twenty, forty), old].toSorted());
  });

  it('deletes with --apply --delete what may go in S3, the manifest first', async () => {
    const stage = await setStage();
    const { id } = await backUp(stage);
    const forty = await layOlderTwin(stage, id, 40, { stores: ['s3'] });
    expect((await retain(stage, '--apply', '--delete')).s3?.action).toBe('deleted');
    expect(await stage.keys()).toEqual(filesOf(id));
    const deleted = stage.requests().filter(({ action }) => action === 'DeleteObject');
    expect(deleted.map(({ key }) => key)[0]).toBe(`database/${forty}.manifest.json`);
    expect(deleted).toHaveLength(3);
  });

  it('changes nothing with --apply --dry-run', async () => {
    const stage = await setStage();
    const { id } = await backUp(stage);
    const forty = await layOlderTwin(stage, id, 40, { stores: ['local', 's3'] });
    const { local, s3 } = await retain(stage, '--apply', '--delete', '--dry-run');
    expect([local.action, s3?.action]).toEqual(['none', 'none']);
    expect(stage.files()).toEqual(filesOf(id, forty));
    expect(await stage.keys()).toEqual(filesOf(id, forty));
  });

  it('keeps what somebody pinned by a tag on any of its objects', async () => {
    const stage = await setStage();
    const { id } = await backUp(stage);
    const pinned = await layOlderTwin(stage, id, 40, { stores: ['s3'] });
    const other = await layOlderTwin(stage, id, 50, { stores: ['s3'] });
    await tag(stage, `${pinned}.sql.gz`, { 'lifeboat-pin': 'before the migration' });
    const { s3 } = await retain(stage, '--apply', '--delete');
    expect(going(s3?.decisions)).toEqual([other]);
    expect(s3?.decisions.find(({ id: each }) => each === pinned)?.reason).toBe('pinned');
    expect(await stage.keys()).toEqual(filesOf(id, pinned));
  });

  it('keeps the newest verified backup in each store, however old, and what is newer but unproven', async () => {
    const stage = await setStage();
    const { id } = await backUp(stage);
    const [good, older] = [
      await layOlderTwin(stage, id, 100, { stores: ['local', 's3'] }),
      await layOlderTwin(stage, id, 200, { stores: ['local', 's3'] }),
    ];
    writeFileSync(path.join(stage.dir, `${id}.sql.gz`), 'cut short');
    await stage.put(`${id}.manifest.json`, '{}');
    const unproven = legacy(50);
    writeFileSync(path.join(stage.dir, unproven), 'x');
    const { local, s3 } = await retain(stage, '--apply', '--delete');
    expect(going(local.decisions)).toEqual([older]);
    expect(going(s3?.decisions)).toEqual([older]);
    expect(stage.files()).toEqual([...filesOf(id, good), unproven].toSorted());
    expect(await stage.keys()).toEqual(filesOf(id, good));
  });

  it('removes nothing at all while no verified backup stands', async () => {
    const stage = await setStage();
    writeFileSync(path.join(await made(stage), legacy(100)), 'x');
    await stage.put(legacy(100), 'x');
    const { local, s3 } = await retain(stage, '--apply', '--delete');
    expect([...going(local.decisions), ...going(s3?.decisions)]).toEqual([]);
    expect(local.decisions[0]?.reason).toBe('no verified backup stands in its place');
  });

  it('takes a backup that is proven in the other store only for no replacement in this one', async () => {
    const stage = await setStage();
    const { id } = await backUp(stage);
    const forty = await layOlderTwin(stage, id, 40, { stores: ['local', 's3'] });
    for (const name of filesOf(id)) rmSync(path.join(stage.dir, name));
    const { local, s3 } = await retain(stage, '--apply', '--delete');
    expect(going(local.decisions)).toEqual([]);
    expect(going(s3?.decisions)).toEqual([forty]);
  });

  it('fails with status 5 when S3 denies the tagging, naming the right that is missing', async () => {
    const stage = await setStage();
    const { id } = await backUp(stage);
    await layOlderTwin(stage, id, 40, { stores: ['s3'] });
    ground().s3.faults.deny({ bucket: stage.bucket, action: 'PutObjectTagging' });
    const end = await stage.run(['retention', '--apply']);
    expect(end.stderr).toContain('S3 denied s3:PutObjectTagging');
    expect(end.status).toBe(5);
    expect(stage.lockIsFree()).toBe(true);
  });

  it('refuses --delete without --apply with status 2', async () => {
    const stage = await setStage();
    const end = await stage.run(['retention', '--delete']);
    expect(end.stderr).toContain('→ Run: lifeboat retention --apply --delete');
    expect(end.status).toBe(2);
  });
});

async function tag(stage: Stage, key: string, tags: Record<string, string>): Promise<void> {
  await ground().client.send(
    new PutObjectTaggingCommand({
      Bucket: stage.bucket,
      Key: `${stage.prefix}/${key}`,
      Tagging: { TagSet: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })) },
    }),
  );
}

/** BACKUP_DIR, made by a command that needs it. */
async function made(stage: Stage): Promise<string> {
  await stage.run(['retention']);
  return stage.dir;
}
