import { Client } from 'pg';
import { Stage, useGround, type FailureJson } from './backup-fixture.ts';
import { databasesLike, halfMade, heldDump, releaseHeld, TINY_SQL, untilLoading } from './restore-fixture.ts';

const ground = useGround({ settings: { max_connections: '40' } });
const SOURCE = 'tiny';

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.createDatabase(SOURCE);
  await postgres.psql(SOURCE, TINY_SQL);
  await postgres.psql('postgres', "CREATE ROLE maker LOGIN CREATEDB PASSWORD 'm'");
});

afterEach(releaseHeld);

const asMaker = { DB_USER: 'maker', DB_PASSWORD: 'm' };

/** A superuser's session, as an exporter that visits every database has it. */
async function sitIn(database: string): Promise<Client> {
  const { host, port, superuser: user, password } = ground().postgres;
  const client = new Client({ host, port, user, password, database, application_name: 'the exporter' });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

async function restoreWithBystander(
  target: string,
  env: Record<string, string>,
  meanwhile: () => Promise<unknown> = async () => undefined,
) {
  const { postgres } = ground();
  const stage = await Stage.set(ground(), { S3_BUCKET: undefined, DB_NAME: target });
  const file = await heldDump(postgres, { source: SOURCE, folder: stage.dir, format: 'plain' });
  const agent = stage.start(['restore', file, '--json'], env);
  const early = agent.ended.then((end) => Promise.reject(new Error(`ended early:\n${end.printed}`)));
  await Promise.race([untilLoading(postgres, target), early]);
  early.catch(() => undefined);
  const [copy] = await halfMade(postgres);
  const bystander = await sitIn(copy!);
  await releaseHeld();
  await agent.untilPrinted(/Rows verified/);
  await meanwhile();
  return { stage, file, end: await agent.ended, copy: copy!, bystander };
}

describe('an idle session in the database that is being restored', () => {
  it('is ended, and the restore succeeds', async () => {
    const { postgres } = ground();
    const { end } = await restoreWithBystander('visited', {});
    expect(end.printed).toContain('✅ Restore completed successfully');
    expect(end.printed).toContain('vacuumdb --analyze-in-stages --dbname=visited');
    expect(await postgres.psql('visited', 'SELECT count(*) FROM tiny')).toBe('10');
    expect(await halfMade(postgres)).toEqual([]);
  });

  it('that we may not end costs no finished restore: it is named, and so are the statements that finish the work', async () => {
    const { postgres } = ground();
    const { end, copy, bystander } = await restoreWithBystander('guarded', asMaker);
    const { error } = end.json() as FailureJson;
    expect(error).toMatchObject({ code: 'RESTORE_FAILED', exitStatus: 4 });
    expect(error.message).toMatch(
      /pid \d+ \(user \w+, application 'the exporter', database guarded_restoring_\d{14}\)/,
    );
    expect(error.hint).toContain(copy);
    expect(error.hint).not.toMatch(/old database/);
    expect(await databasesLike(postgres, 'guarded%')).toEqual([copy]);
    await bystander.end();
    const [, statements] = /(BEGIN; .* COMMIT;)/s.exec(error.hint)!;
    await postgres.psql('postgres', statements!);
    expect(await postgres.psql('guarded', 'SELECT count(*) FROM tiny')).toBe('10');
    expect(await databasesLike(postgres, 'guarded%')).toEqual(['guarded']);
  });
});

describe('a database that somebody creates under the target’s name while its rename waits', () => {
  it('is never taken for the restored one', async () => {
    const { postgres } = ground();
    const { end, copy, bystander } = await restoreWithBystander('raced', asMaker, async () => {
      await postgres.psql('postgres', 'CREATE DATABASE raced');
    });
    expect(end.printed).not.toContain('✅ Restore completed');
    expect((end.json() as FailureJson).error).toMatchObject({ code: 'RESTORE_FAILED' });
    expect((end.json() as FailureJson).error.message).toContain('already exists');
    expect(await postgres.psql(copy, 'SELECT count(*) FROM tiny')).toBe('10');
    await bystander.end();
  });
});
