import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ListObjectsV2Command } from '@aws-sdk/client-s3';
import { watchCommandLines } from './agent-process.ts';
import {
  expectNothingLeft,
  fakeTools,
  seenTool,
  Stage,
  useGround,
  type BackupJson,
} from './backup-fixture.ts';

const ground = useGround();

const PWNED = '/tmp/lifeboat-pwned';

type Overrides = Record<string, string | undefined>;

const setStage = (env: Overrides = {}): Promise<Stage> =>
  Stage.set(ground(), { DB_NAME: 'postgres', ...env });

const name = (text: string): string => `"${text.replaceAll('"', '""')}"`;

async function allKeys(stage: Stage): Promise<string[]> {
  const page = await ground().client.send(new ListObjectsV2Command({ Bucket: stage.bucket }));
  return (page.Contents ?? []).map(({ Key }) => Key!);
}

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.psql('postgres', 'CREATE TABLE one AS SELECT 1 AS a');
  await postgres.createDatabase('seven_rows');
  await postgres.psql('seven_rows', 'CREATE TABLE seven AS SELECT generate_series(1, 7) AS a');
});

afterAll(() => expect(existsSync(PWNED)).toBe(false));

describe('a database called', () => {
  it.each([
    `sp ace`,
    ` leading and trailing `,
    `quo"te and quo'te`,
    `$(touch ${PWNED})`,
    `\`touch ${PWNED}\`; touch ${PWNED}`,
    `..`,
    `../../etc/passwd`,
    `back\\slash\\`,
    `new\nline`,
    `täble 表 🐘`,
    `-h`,
    `--version`,
    `host=127.0.0.2 dbname=postgres`,
    `postgres://127.0.0.2/postgres`,
    `%s%n%20`,
    'ü'.repeat(31),
  ])('%j is backed up under the app’s name, and the manifest has it to the letter', async (database) => {
    await ground().postgres.psql('postgres', `CREATE DATABASE ${name(database)} TEMPLATE seven_rows`);
    const stage = await setStage({ DB_NAME: database, S3_BUCKET: undefined });
    const end = await stage.run(['backup', '--json']);
    expect(end.printed).toContain('✅ Backup completed successfully');
    const { id, rows } = end.json() as BackupJson;
    expect(rows).toBe(7);
    expect(stage.manifest(id).database.name).toBe(database);
    expect(stage.files()).toEqual([`${id}.globals.sql.gz`, `${id}.manifest.json`, `${id}.sql.gz`]);
    expect(id).toMatch(/^hostmaster_db_\d{8}_\d{6}$/);
  });
});

describe('an app called', () => {
  it.each(['..', 'a/b', '../a', 'a..b', 'a b', '$(id)', '-a', '.a', 'ä', 'a\nb', 'a\\b', 'x'.repeat(64)])(
    '%j is refused with status 2 before anything is made',
    async (app) => {
      const stage = await setStage({ APP_NAME: app });
      const end = await stage.run(['backup']);
      expect(end.stderr).toContain(`APP_NAME ${JSON.stringify(app)} cannot be part of a file name`);
      expect(end.status).toBe(2);
      expect(existsSync(stage.dir)).toBe(false);
      expect(stage.requests()).toEqual([]);
    },
  );

  it('my.App-1_x names its files so', async () => {
    const stage = await setStage({ APP_NAME: 'my.App-1_x' });
    const { id } = (await stage.run(['backup', '--json'])).json() as BackupJson;
    expect(id).toMatch(/^my\.App-1_x_db_\d{8}_\d{6}$/);
    expect(await stage.keys()).toEqual(stage.files());
    const list = await stage.run(['list', '--json'], { APP_NAME: 'my.App-1_x' });
    expect(list.json()).toMatchObject({ backups: [{ id, copies: [{ store: 'local' }, { store: 's3' }] }] });
  });
});

describe('a prefix in S3', () => {
  it.each([
    ['', ''],
    ['/database/', 'database/'],
    ['a b/c', 'a b/c/'],
    [`it's "$(touch ${PWNED})"`, `it's "$(touch ${PWNED})"/`],
    ['ünï/表+%20&?#', 'ünï/表+%20&?#/'],
    ['...', '.../'],
  ])('%j is where the objects lie, are listed, and are verified', async (prefix, expected) => {
    const stage = await setStage({ S3_PREFIX: prefix });
    const { id, locations } = (await stage.run(['backup', '--json'])).json() as BackupJson;
    expect(await allKeys(stage)).toEqual(
      [`${id}.globals.sql.gz`, `${id}.manifest.json`, `${id}.sql.gz`].map((file) => expected + file),
    );
    expect(locations[1]).toBe(`s3://${stage.bucket}/${expected}${id}.sql.gz`);
    const verified = await stage.run(['verify', id, '--json']);
    expect(verified.json()).toMatchObject({
      copies: [
        { store: 'local', verdict: 'proven' },
        { store: 's3', verdict: 'proven' },
      ],
    });
  });

  it.each(['..', 'a/../b', '.', 'a//b', 'a\\b', 'a\nb'])('%j is refused with status 2', async (prefix) => {
    const stage = await setStage({ S3_PREFIX: prefix });
    const end = await stage.run(['backup']);
    expect(end.stderr).toContain(`S3_PREFIX=${JSON.stringify(prefix)}`);
    expect(end.status).toBe(2);
    expect(existsSync(stage.dir)).toBe(false);
  });
});

describe('a password', () => {
  it.each([
    `it's "quoted" \\ $HOME $(touch ${PWNED}) \`id\` ; | & > <`,
    `-leading`,
    `--password=x`,
    `new\nline\nand\ttab`,
    ` spaces around `,
    `ünï 表 🐘`,
    `u\u0308 decomposed`,
    `ligature \uFB01 and no-break\u00A0space`,
    `%41:@/?#=&`,
    `#not a comment`,
  ])('%j works, and is neither in any command line nor in anything printed', async (password) => {
    const { postgres } = ground();
    const role = `DO $do$ BEGIN EXECUTE format('CREATE ROLE tested SUPERUSER LOGIN PASSWORD %L', convert_from('\\x${Buffer.from(
      password,
    ).toString('hex')}', 'UTF8')); END $do$`;
    await postgres.psql('postgres', `DROP ROLE IF EXISTS tested; ${role}`);
    const { folder, isCall, see } = seenTool(ground(), 'pg_dump');
    const stage = await setStage({ DB_USER: 'tested', DB_PASSWORD: password, PG_BIN_DIR: folder });
    const agent = stage.start(['backup', '--json']);
    const seen = await watchCommandLines(agent.pid, agent.ended, see);
    const end = await agent.ended;
    expect(end.printed).toContain('✅ Backup completed successfully');
    expect(end.printed).not.toContain(password);
    expect([...seen].filter(isCall)).not.toEqual([]);
    expect([...seen].filter((line) => line.includes(password.trim()))).toEqual([]);
    expect(JSON.stringify(stage.manifest((end.json() as BackupJson).id))).not.toContain(password);
  });

  it('is all that PostgreSQL’s programs get of our secrets', async () => {
    const dumped = path.join(ground().folder, 'environment');
    const tools = fakeTools(ground(), { pg_dump: `env -0 > '${dumped}'; real "$@"` });
    const secrets = {
      SLACK_WEBHOOK_URL: 'http://127.0.0.1:1/services/slack-secret',
      SMTP_URL: 'smtp://user:smtp-secret@127.0.0.1:1',
    };
    const stage = await setStage({ PG_BIN_DIR: tools });
    expect((await stage.run(['backup'], secrets)).status).toBe(0);
    const environment = readFileSync(dumped, 'utf8').split('\0');
    expect(environment).toContain(`PGPASSWORD=${ground().postgres.password}`);
    const others = environment.filter((line) => !line.startsWith('PGPASSWORD='));
    const { secretAccessKey } = ground().s3.credentials;
    for (const secret of ['slack-secret', 'smtp-secret', secretAccessKey, ground().postgres.password])
      expect(others.filter((line) => line.includes(secret))).toEqual([]);
  });

  it('may come from PGPASSFILE instead of DB_PASSWORD', async () => {
    const { password } = ground().postgres;
    const file = path.join(ground().folder, 'pgpass');
    writeFileSync(file, `*:*:*:*:${password.replaceAll(/[\\:]/g, '\\$&')}\n`, { mode: 0o600 });
    const stage = await setStage({ DB_PASSWORD: undefined, PGPASSFILE: file });
    expect((await stage.run(['backup'])).printed).toContain('✅ Backup completed successfully');
  });
});

describe('DB_HOST', () => {
  it('may be the folder of a Unix socket', async () => {
    const stage = await setStage({ DB_HOST: ground().postgres.socketDir });
    expect((await stage.run(['backup'])).printed).toContain('✅ Backup completed successfully');
  });

  it('is not overruled by PGHOSTADDR, PGSERVICE, PGOPTIONS or other settings of libpq', async () => {
    const stage = await setStage({
      PGHOST: '127.0.0.2',
      PGHOSTADDR: '127.0.0.2',
      PGPORT: '1',
      PGDATABASE: 'nowhere',
      PGUSER: 'nobody',
      PGSERVICE: 'none',
      PGOPTIONS: '-c search_path=nowhere -c default_transaction_isolation=serializable',
      PGCLIENTENCODING: 'SQL_ASCII',
      PGAPPNAME: 'other',
    });
    const end = await stage.run(['backup']);
    expect(end.printed).toContain('Rows: 1 in 1 table');
    expect(end.status).toBe(0);
  });

  it('that does not resolve fails with status 4 and is named', async () => {
    const stage = await setStage({ DB_HOST: 'no-such-host.invalid' });
    const end = await stage.run(['backup']);
    expect(end.stderr).toMatch(/❌ Cannot connect to database "postgres" on no-such-host\.invalid:\d+/);
    expect(end.status).toBe(4);
    await expectNothingLeft(stage, end);
  });
});
