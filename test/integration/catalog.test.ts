import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { layOlderTwin, Stage, useGround, type BackupJson, type FailureJson } from './backup-fixture.ts';

const ground = useGround();

const DATABASE = 'hostmaster_prod';
const OTHER = 'hostmaster_other';

beforeAll(async () => {
  const { postgres } = ground();
  for (const database of [DATABASE, OTHER]) {
    await postgres.createDatabase(database);
    await postgres.psql(database, 'CREATE TABLE users AS SELECT generate_series(1, 1000) AS id');
  }
});

type Overrides = Record<string, string | undefined>;

const setStage = (env: Overrides = {}): Promise<Stage> => Stage.set(ground(), { DB_NAME: DATABASE, ...env });
const localOnly = { S3_BUCKET: undefined };

async function backUp(stage: Stage, env: Overrides = {}): Promise<string> {
  const end = await stage.run(['backup', '--json'], env);
  expect(end.printed).toContain('✅ Backup completed successfully');
  return (end.json() as BackupJson).id;
}

/** `[id, state of the local copy, state of the one in S3]`, newest first. */
async function statesOf(stage: Stage, env: Overrides = {}): Promise<(string | undefined)[][]> {
  const state = (copies: readonly { store: string; state: string }[], wanted: string): string | undefined =>
    copies.find(({ store }) => store === wanted)?.state;
  return (await stage.list(env)).map(({ id, copies }) => [id, state(copies, 'local'), state(copies, 's3')]);
}

function flipBit(bytes: Buffer, offset: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[offset] = copy[offset]! ^ 1;
  return copy;
}

function write(stage: Stage, name: string, content: Buffer | string): void {
  mkdirSync(stage.dir, { recursive: true });
  writeFileSync(path.join(stage.dir, name), content);
}

/** A dump as the user's old scripts made it. */
function oldDump(): Buffer {
  const { postgres } = ground();
  const dump = execFileSync('pg_dump', [], {
    env: {
      ...process.env,
      PGHOST: postgres.host,
      PGPORT: String(postgres.port),
      PGUSER: postgres.superuser,
      PGPASSWORD: postgres.password,
      PGDATABASE: DATABASE,
    },
  });
  return gzipSync(dump);
}

describe('a command with --json', () => {
  it.each([
    ['list', { DB_PORT: 'none' }],
    ['status', { DB_PORT: 'none' }],
    ['verify', { DB_PORT: 'none' }],
    ['retention', { DB_PORT: 'none' }],
    ['backup', { DB_NAME: undefined }],
    ['restore', {}],
    ['install', {}],
    ['notify', {}],
  ])(
    'names its operation, %s, in the JSON of a failure that comes before its work',
    async (operation, env) => {
      const end = await (await setStage()).run([operation, '--json'], env);
      expect(end.json()).toMatchObject({ operation, succeeded: false, error: { exitStatus: 2 } });
      expect(end.status).toBe(2);
    },
  );
});

describe('lifeboat list', () => {
  it('says what to do when there is nothing yet, with status 0', async () => {
    const stage = await setStage();
    const end = await stage.run(['list']);
    expect(end.stdout).toBe('No backups of hostmaster yet. Make one: lifeboat backup\n');
    expect(end.status).toBe(0);
    expect((await stage.run(['list', '--json'])).json()).toEqual({
      operation: 'list',
      backups: [],
      bases: [],
      succeeded: true,
    });
  });

  it('shows every backup’s copies side by side, newest first, with time, size, format and expiry', async () => {
    const stage = await setStage();
    const id = await backUp(stage, { BACKUP_FORMAT: 'custom', BACKUP_COMPRESSION: 'zstd' });
    const older = await layOlderTwin(stage, id, 3);
    const end = await stage.run(['list']);
    const lines = end.stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^ID +TIME \(UTC\) +SIZE +FORMAT +WHERE +VERIFIED +EXPIRES$/);
    const time = '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d';
    expect(lines[1]).toMatch(
      new RegExp(`^${id}  ${time}:\\d\\d  [\\d.]+K  custom zstd  local  ✅ ${time} +kept$`),
    );
    expect(lines[2]).toMatch(new RegExp(`^ +S3 +✅ ${time} +kept$`));
    expect(lines[3]).toMatch(new RegExp(`^${older} .* custom zstd  local  ✅ .*  \\d{4}-\\d\\d-\\d\\d$`));
    expect(lines).toHaveLength(4);
    expect(end.status).toBe(0);
  });

  it('promises no day that is past: what is still there then may go, and is said to be due', async () => {
    const stage = await setStage();
    const id = await backUp(stage);
    const older = await layOlderTwin(stage, id, 10);
    const { stdout } = await stage.run(['list']);
    expect(stdout).toMatch(new RegExp(`^${older} .* local  ✅ .*  due$`, 'm'));
    const [, listed] = await stage.list();
    expect(new Date(listed!.copies[0]!.expiresAt!).getTime()).toBeLessThan(Date.now());
  });

  it('shows a dump of the user’s old scripts as one without a manifest, here and in S3', async () => {
    const stage = await setStage();
    const dump = oldDump();
    write(stage, 'hostmaster_db_20260115_020000.sql.gz', dump);
    await stage.put('hostmaster_db_20260114_020000.sql.gz', dump);
    expect(await statesOf(stage)).toEqual([
      ['hostmaster_db_20260115_020000', 'without manifest', undefined],
      ['hostmaster_db_20260114_020000', undefined, 'without manifest'],
    ]);
    const [newest] = await stage.list();
    expect(newest).toMatchObject({ time: '2026-01-15T02:00:00.000Z', bytes: dump.length, format: 'plain' });
    expect(newest!.copies[0]).toMatchObject({ verified: false, verifiedAt: null, expiresAt: null });
  });

  it('passes over files that only look like backups', async () => {
    const stage = await setStage();
    const others = [
      'hostmaster_db_notes.txt',
      'hostmaster_db_20261399_020000.sql.gz',
      'hostmaster_db_20260115_020000.sql.gz.bak',
      'hostmaster_db_20260115_020000.sql',
      'xhostmaster_db_20260115_020000.sql.gz',
    ];
    for (const name of others) {
      write(stage, name, 'x');
      await stage.put(name, 'x');
    }
    mkdirSync(path.join(stage.dir, 'hostmaster_db_20260116_020000.sql.gz'));
    await stage.put('deeper/hostmaster_db_20260115_020000.sql.gz', 'x');
    expect(await stage.list()).toEqual([]);
  });

  it('shows what a killed run left as unfinished, never as a backup', async () => {
    const stage = await setStage(localOnly);
    write(stage, 'hostmaster_db_20260115_020000.sql.gz.partial', 'x');
    write(stage, 'hostmaster_db_20260116_020000.globals.sql.gz', 'x');
    write(stage, 'hostmaster_db_20260116_020000.sql.gz', 'x');
    const end = await stage.run(['list']);
    expect(end.stdout.match(/⚠️ unfinished, no backup/g)).toHaveLength(2);
    expect((await stage.run(['status'])).stderr).toContain('There is no good backup of hostmaster');
  });
});

describe('lifeboat verify', () => {
  it('reads the newest backup again, every copy of it, and ends with status 0', async () => {
    const stage = await setStage();
    const id = await backUp(stage);
    await layOlderTwin(stage, id, 1);
    const end = await stage.run(['verify']);
    expect(end.stdout).toContain(`✅ ${stage.dir}/${id}.sql.gz\n`);
    expect(end.stdout).toContain(`✅ s3://${stage.bucket}/database/${id}.sql.gz\n`);
    expect(end.stdout).toMatch(/^2 of 2 copies good, [\d.]+K read in \d.*s$/m);
    expect(end.status).toBe(0);
    const all = await stage.run(['verify', '--all', '--json']);
    expect(all.json()).toMatchObject({ succeeded: true, copies: [{}, {}, { store: 'local' }] });
  });

  it('proves a dump of the old scripts to be readable, and says what could not be checked', async () => {
    const stage = await setStage();
    write(stage, 'hostmaster_db_20260115_020000.sql.gz', oldDump());
    await stage.put('hostmaster_db_20260115_020000.sql.gz', oldDump());
    const end = await stage.run(['verify', 'hostmaster_db_20260115_020000']);
    expect(end.stdout).toContain(
      '2 without a manifest: whole and readable, but nothing to compare them with',
    );
    expect(end.status).toBe(0);
    expect(stage.files()).toEqual(['hostmaster_db_20260115_020000.sql.gz']);
  });

  it.each([
    ['is cut short', (dump: Buffer) => dump.subarray(0, dump.length / 2)],
    ['is empty', () => Buffer.alloc(0)],
    ['is no dump', () => gzipSync('hello')],
    ['is not compressed at all', () => Buffer.from('hello')],
    ['lacks the dump’s end', () => gzipSync('--\n-- PostgreSQL database dump\n--\n\nSET a = 1;\n')],
  ])('fails with status 7 for a dump of the old scripts that %s', async (_what, spoil) => {
    const stage = await setStage(localOnly);
    write(stage, 'hostmaster_db_20260115_020000.sql.gz', spoil(oldDump()));
    const end = await stage.run(['verify']);
    expect(end.stderr).toMatch(
      /❌ 1 of 1 copies failed verification: \S+hostmaster_db_20260115_020000\.sql\.gz/,
    );
    expect(end.status).toBe(7);
  });

  it('fails with status 3 for a backup that is not there and with status 2 for what is no id', async () => {
    const stage = await setStage(localOnly);
    const nothing = await stage.run(['verify']);
    expect(nothing.stderr).toContain('There is no backup of hostmaster to verify');
    expect(nothing.stderr).toContain('→ Run: lifeboat backup');
    expect(nothing.status).toBe(3);
    const unknown = await stage.run(['verify', 'hostmaster_db_20260115_020000']);
    expect(unknown.stderr).toContain('There is no backup hostmaster_db_20260115_020000 of hostmaster');
    expect(unknown.stderr).toContain('→ Run: lifeboat list');
    expect(unknown.status).toBe(3);
    for (const id of ['../../etc/passwd', 'hostmaster', 'hostmaster_db_20261399_020000']) {
      const wrong = await stage.run(['verify', id]);
      expect(wrong.stderr).toContain(`${JSON.stringify(id)} is no backup id`);
      expect(wrong.status).toBe(2);
    }
    expect((await stage.run(['verify', 'hostmaster_db_20260115_020000', '--all'])).status).toBe(2);
  });
});

describe('a damaged backup', () => {
  const spoiled: [string, (stage: Stage, id: string) => void, RegExp][] = [
    [
      'whose dump is cut short',
      (stage, id) => write(stage, `${id}.sql.gz`, stage.read(`${id}.sql.gz`).subarray(0, 100)),
      /\.sql\.gz has 100 bytes instead of \d+/,
    ],
    ['whose dump is empty', (stage, id) => write(stage, `${id}.sql.gz`, ''), /has 0 bytes instead of/],
    [
      'whose dump is gone',
      (stage, id) => rmSync(path.join(stage.dir, `${id}.sql.gz`)),
      /\.sql\.gz is missing/,
    ],
    [
      'whose globals are gone',
      (stage, id) => rmSync(path.join(stage.dir, `${id}.globals.sql.gz`)),
      /\.globals\.sql\.gz is missing/,
    ],
  ];
  it.each(spoiled)(
    '%s is shown as such at once, and is never the last good one',
    async (_what, spoil, why) => {
      const stage = await setStage(localOnly);
      const id = await backUp(stage);
      const older = await layOlderTwin(stage, id, 1);
      spoil(stage, id);
      expect(await statesOf(stage)).toEqual([
        [id, 'damaged', undefined],
        [older, 'complete', undefined],
      ]);
      expect((await stage.run(['list'])).stdout).toMatch(new RegExp(`❌ damaged: .*${why.source}`));
      expect((await stage.run(['status'])).stdout).toContain(`Last good backup  ${older}`);
      const end = await stage.run(['verify', id]);
      expect(end.stderr).toContain('❌ 1 of 1 copies failed verification');
      expect(end.status).toBe(7);
    },
  );

  it.each(['.sql.gz', '.globals.sql.gz'])(
    'with a flipped bit in its %s is found by verify, with status 7, and from then on is no good one',
    async (suffix) => {
      const stage = await setStage();
      const id = await backUp(stage);
      const older = await layOlderTwin(stage, id, 1);
      write(stage, id + suffix, flipBit(stage.read(id + suffix), 50));
      const end = await stage.run(['verify', '--json']);
      const { error, copies } = end.json() as FailureJson & { copies: { verdict: string; store: string }[] };
      expect(copies).toMatchObject([
        { store: 'local', verdict: 'failed', code: 'CORRUPT' },
        { store: 's3', verdict: 'proven' },
      ]);
      expect(error.message).toContain('1 of 2 copies failed verification');
      expect(error.hint).toContain('lifeboat list');
      expect(end.status).toBe(7);
      expect(await statesOf(stage)).toEqual([
        [id, 'damaged', 'complete'],
        [older, 'complete', undefined],
      ]);
      const retention = await stage.run(['retention', '--dry-run'], { LOCAL_RETENTION_DAYS: '1' });
      expect(retention.stdout).toMatch(new RegExp(`${older} +complete .* stays +the newest verified backup`));
      write(stage, id + suffix, flipBit(stage.read(id + suffix), 50));
      expect((await stage.run(['verify'])).status).toBe(0);
      expect((await statesOf(stage))[0]).toEqual([id, 'complete', 'complete']);
    },
  );

  it('in S3 does not spoil the local copy', async () => {
    const stage = await setStage();
    const id = await backUp(stage);
    await stage.put(`${id}.sql.gz`, flipBit(stage.read(`${id}.sql.gz`), 50));
    expect((await stage.run(['verify'])).status).toBe(7);
    expect(await statesOf(stage)).toEqual([[id, 'complete', 'damaged']]);
    expect((await stage.run(['status'])).stdout).toMatch(new RegExp(`${id}, .* ago \\(Local\\)`));
  });

  it('is not made of one that could not be read because S3 was away', async () => {
    const stage = await setStage({ AWS_MAX_ATTEMPTS: '2' });
    const id = await backUp(stage);
    ground().s3.faults.slowDown({
      bucket: stage.bucket,
      action: 'GetObject',
      key: '*.sql.gz',
      times: 'always',
    });
    const end = await stage.run(['verify']);
    expect(end.stderr).toContain('1 of 2 copies failed verification: s3://');
    expect(end.status).toBe(5);
    ground().s3.faults.clear();
    expect(await statesOf(stage)).toEqual([[id, 'complete', 'complete']]);
  });
});

describe('a manifest that cannot be read', () => {
  const newer = (text: string): string => text.replace('"schemaVersion": 1', '"schemaVersion": 2');
  it.each([
    ['of a newer Lifeboat', newer, /schema version 2; this Lifeboat reads up to 1/],
    ['that is cut short', (text: string) => text.slice(0, 300), /is not JSON/],
    ['that is empty', () => '', /is not JSON/],
    ['that is another JSON', () => '{"schemaVersion":1}', /is no valid manifest/],
  ])(
    '%s is shown, and keeps neither backup nor list nor retention from their work',
    async (_what, spoil, why) => {
      const stage = await setStage();
      const id = await backUp(stage);
      const spoiled = await layOlderTwin(stage, id, 2, { stores: ['local', 's3'] });
      const manifest = `${spoiled}.manifest.json`;
      const text = spoil(JSON.stringify(JSON.parse(stage.read(manifest).toString()), null, 1));
      write(stage, manifest, text);
      await stage.put(manifest, text);
      const next = await backUp(stage);
      expect(await statesOf(stage)).toEqual([
        [next, 'complete', 'complete'],
        [id, 'complete', 'complete'],
        [spoiled, 'unreadable', 'unreadable'],
      ]);
      expect((await stage.run(['list'])).stdout).toMatch(new RegExp(`❌ unreadable: .*${why.source}`));
      expect((await stage.run(['retention', '--dry-run'])).status).toBe(0);
      expect((await stage.run(['status'])).status).toBe(0);
    },
  );

  it('because it is a newer Lifeboat’s is not called damaged by verify, but asks for that version', async () => {
    const stage = await setStage(localOnly);
    const id = await backUp(stage);
    const manifest = `${id}.manifest.json`;
    const text = stage.read(manifest).toString();
    write(stage, manifest, newer(text));
    const end = await stage.run(['verify', id]);
    expect(end.stderr).toContain('install that version');
    expect(end.status).toBe(3);
    write(stage, manifest, text);
    expect(await statesOf(stage)).toEqual([[id, 'complete', undefined]]);
  });
});

describe('apps whose names begin alike', () => {
  it('never see or remove each other’s backups in one folder and one prefix', async () => {
    const stage = await setStage();
    const apps = ['hostmaster', 'hostmaster_staging', 'hostmaster_db', 'host'];
    const days = { LOCAL_RETENTION_DAYS: '1', S3_RETENTION_DAYS: '1' };
    const old: Record<string, string> = {};
    const made: Record<string, string> = {};
    for (const app of apps) {
      made[app] = await backUp(stage, { APP_NAME: app });
      old[app] = await layOlderTwin(stage, made[app], 5, { stores: ['local', 's3'], app });
    }
    for (const app of apps) {
      expect(await statesOf(stage, { APP_NAME: app })).toEqual([
        [made[app], 'complete', 'complete'],
        [old[app], 'complete', 'complete'],
      ]);
    }
    const end = await stage.run(['retention', '--apply', '--delete', '--json'], days);
    expect(end.status).toBe(0);
    const left = apps.flatMap((app) => (app === 'hostmaster' ? [made[app]!] : [made[app]!, old[app]!]));
    const files = left.flatMap((id) => [`${id}.globals.sql.gz`, `${id}.manifest.json`, `${id}.sql.gz`]);
    expect(stage.files()).toEqual(files.toSorted());
    expect(await stage.keys()).toEqual(files.toSorted());
  });
});

describe('another database under the same app name', () => {
  it('is refused with status 3 and the remedy, and is taken with --adopt-series, from then on without', async () => {
    const stage = await setStage();
    const id = await backUp(stage);
    const refused = await stage.run(['backup', '--json'], { DB_NAME: OTHER });
    const { error } = refused.json() as FailureJson;
    expect(error).toMatchObject({ code: 'SERIES_MISMATCH', exitStatus: 3 });
    expect(error.message).toContain(`"hostmaster_prod", not "hostmaster_other" (newest: ${id})`);
    expect(error.hint).toContain('APP_NAME');
    expect(error.hint).toContain('--adopt-series');
    expect(refused.status).toBe(3);
    expect(await statesOf(stage)).toEqual([[id, 'complete', 'complete']]);
    expect((await stage.run(['backup', '--adopt-series'], { DB_NAME: OTHER })).status).toBe(0);
    expect((await stage.run(['backup'], { DB_NAME: OTHER })).status).toBe(0);
    expect(await stage.list()).toHaveLength(3);
  });

  it('is noticed although only S3 remembers the series', async () => {
    const stage = await setStage();
    await backUp(stage);
    rmSync(stage.dir, { recursive: true });
    expect((await stage.run(['backup'], { DB_NAME: OTHER })).status).toBe(3);
  });

  it('is also one of the same name in another cluster', async () => {
    const stage = await setStage(localOnly);
    const id = await backUp(stage);
    const manifest = stage.manifest(id);
    const server = { ...manifest.server, systemIdentifier: '7000000000000000001' };
    write(stage, `${id}.manifest.json`, JSON.stringify({ ...manifest, server }));
    const refused = await stage.run(['backup']);
    expect(refused.stderr).toContain('of the cluster 7000000000000000001, not of');
    expect(refused.status).toBe(3);
  });
});

describe('a backup that is dated in the future', () => {
  it('is warned of, does not stop the next one, and does not count as recent', async () => {
    const stage = await setStage(localOnly);
    const id = await backUp(stage);
    const future = await layOlderTwin(stage, id, -400);
    const end = await stage.run(['backup']);
    expect(end.stdout).toContain(
      `The newest backup, ${future}, is dated in the future: the clock was set. "latest" passes it over.`,
    );
    expect(end.stdout).toContain('✅ Backup completed successfully');
    expect(end.status).toBe(0);
    expect(await stage.list()).toHaveLength(3);
    const [, newest] = await stage.list();
    expect((await stage.run(['status'])).stdout).toContain(`Last good backup  ${newest!.id}`);
  });

  it('hides from no monitoring check that there is no recent one', async () => {
    const stage = await setStage(localOnly);
    const id = await backUp(stage);
    await layOlderTwin(stage, id, -400);
    await layOlderTwin(stage, id, 3);
    for (const suffix of ['.sql.gz', '.globals.sql.gz', '.manifest.json'])
      rmSync(path.join(stage.dir, id + suffix));
    const end = await stage.run(['status']);
    expect(end.stderr).toMatch(
      /❌ The last good backup of hostmaster is 3d 0h old; at most 26h 00m is allowed/,
    );
    expect(end.status).toBe(9);
  });

  it('is told apart by status when it is the only one', async () => {
    const stage = await setStage(localOnly);
    const id = await backUp(stage);
    const future = await layOlderTwin(stage, id, -400);
    for (const suffix of ['.sql.gz', '.globals.sql.gz', '.manifest.json'])
      rmSync(path.join(stage.dir, id + suffix));
    const end = await stage.run(['status']);
    expect(end.stderr).toContain(`❌ The only good backup, ${future}, is dated in the future`);
    expect(end.status).toBe(9);
  });
});
