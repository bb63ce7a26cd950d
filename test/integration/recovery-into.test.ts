import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAlive } from './agent-process.ts';
import { Stage, useGround, type FailureJson } from './backup-fixture.ts';
import { postmasterOf, RecoveryGround, type RecoveryJson } from './recovery-fixture.ts';
import { flushLsn, startStream, stopStream, untilHeld, WAL_SERVER } from './wal-fixture.ts';

interface IntoJson extends RecoveryJson {
  readonly database: string;
  readonly tables: number;
  readonly rows: number;
  readonly keptAs: string | null;
  readonly kept: boolean;
  readonly durationsMs: Readonly<Record<string, number>>;
}

const SHOP = 'shop';
const ODD = `before "it" broke; Übersicht`;

describe('A database or tables out of a recovered cluster', () => {
  const ground = useGround(WAL_SERVER);
  let stage: Stage;
  let recoveries: RecoveryGround;
  let good = '';

  const sql = (text: string, database = SHOP): Promise<string> => ground().postgres.psql(database, text);

  beforeAll(async () => {
    const { postgres } = ground();
    stage = await Stage.set(ground(), { DB_NAME: SHOP, PG_BIN_DIR: postgres.binDir });
    recoveries = new RecoveryGround(postgres);
    await sql(`CREATE DATABASE ${SHOP}`, 'postgres');
    await sql(`
      CREATE TABLE customers (id serial PRIMARY KEY, name text);
      CREATE TABLE invoices (id serial PRIMARY KEY, customer int REFERENCES customers, amount numeric);
      CREATE TABLE "Order Items" (at date, n int) PARTITION BY RANGE (at);
      CREATE TABLE items_2026 PARTITION OF "Order Items" FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
      CREATE TABLE large AS SELECT generate_series(1, 20000) AS n;
      INSERT INTO customers (name) SELECT 'customer ' || i FROM generate_series(1, 50) i`);
    const agent = await startStream(stage);
    const backup = await stage.run(['backup', '--kind', 'base', '--json']);
    if (backup.status !== 0) throw new Error(backup.printed);
    await sql(`INSERT INTO invoices (customer, amount) SELECT 1 + i % 50, i FROM generate_series(1, 400) i;
      INSERT INTO "Order Items" SELECT '2026-02-01', i FROM generate_series(1, 30) i`);
    good = await sql(`SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`);
    await sql(
      'DROP TABLE invoices; DELETE FROM "Order Items"; INSERT INTO customers (name) VALUES (\'later\')',
    );
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(agent);
  });

  afterAll(() => recoveries?.remove());

  const recover = (dataDir: string): string[] => ['restore', '--to-time', good, '--data-dir', dataDir];
  const aTable = ['--table', 'customers', '--replace'];

  async function into(...args: readonly string[]): Promise<{ json: IntoJson; printed: string }> {
    const dataDir = recoveries.folder();
    const end = await stage.run([...recover(dataDir), '--json', ...args]);
    if (end.status !== 0) throw new Error(end.printed);
    return { json: end.json() as IntoJson, printed: end.printed };
  }

  async function refused(...args: readonly string[]): Promise<FailureJson['error'] & { dataDir: string }> {
    const dataDir = recoveries.folder();
    const end = await stage.run([...recover(dataDir), '--json', ...args]);
    expect(end.status).not.toBe(0);
    return { ...(end.json() as FailureJson).error, dataDir };
  }

  const expectNoServer = (dataDir: string): void => {
    const pid = postmasterOf(dataDir);
    if (pid !== undefined) expect(isAlive(pid)).toBe(false);
  };

  it('brings back a dropped table, tells what it is of, and leaves no cluster behind', async () => {
    const { json, printed } = await into('--table', 'public.invoices');
    expect(await sql('SELECT count(*), sum(amount) FROM invoices')).toBe('400|80200');
    expect(await sql("SELECT count(*) FROM customers WHERE name = 'later'")).toBe('1');
    expect(json).toMatchObject({ tables: 1, rows: 400, kept: false });
    for (const part of ['unpacking', 'replaying', 'dumping', 'loading', 'total'])
      expect(json.durationsMs[part]).toBeGreaterThan(0);
    expect(printed).toContain(`last commit ${json.reached.lastCommit} at ${json.reached.lsn}`);
    expect(printed).toMatch(/That commit is \d+\.\d{3} s before the time asked for/);
    expect(printed).toMatch(/Rows verified: 1 table, 400 rows/);
    expect(printed).toMatch(/The recovered cluster was shut down and removed/);
    expect(existsSync(json.dataDir)).toBe(false);
    expect((await stage.run(['list', '--json'])).json()).toMatchObject({ backups: [] });
  });

  it('puts tables in the place of what is there, which is kept aside, with all their partitions', async () => {
    const there = await refused('--table', '"Order Items"');
    expect(there).toMatchObject({ code: 'TARGET_NOT_EMPTY' });
    expect(existsSync(there.dataDir)).toBe(false);
    await into('--table', '"Order Items"', '--replace');
    expect(await sql('SELECT count(*) FROM "Order Items"')).toBe('30');
    expect(await sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'before_%'")).toBe('1');
  });

  it('prints the whole plan, and touches nothing', async () => {
    const backupDir = path.join(recoveries.root, 'backups');
    recoveries.makeFolder(backupDir);
    const args = ['restore', '--to-time', good, '--database', SHOP, '--to-database', 'other', '--dry-run'];
    const { printed, status } = await stage.run(args, { BACKUP_DIR: backupDir });
    expect(status).toBe(0);
    expect(printed).toMatch(/ {2}base {4}hostmaster_base_\d+_\d+ /);
    expect(printed).toContain(`To the side, into ${backupDir}/recovered_hostmaster,`);
    expect(printed).toMatch(/ {2}dump {4}the recovered database "shop", at most .* more on the same disk/);
    expect(printed).toMatch(/ {2}load {4}into "other" of the live server, which does not exist yet/);
    expect(printed).toMatch(/ {2}remove {2}the recovered cluster/);
    expect(printed).toMatch(/Nothing was touched \(--dry-run\)\.\s*$/);
    const replace = await stage.run([...args.slice(0, 5), '--replace', '--dry-run'], {
      BACKUP_DIR: backupDir,
    });
    expect(replace.printed).toMatch(/into "shop" of the live server, which holds data: \d+ tables/);
    expect(replace.printed).toContain('is kept as "shop_before_<time>"');
    expect(existsSync(`${backupDir}/recovered_hostmaster`)).toBe(false);
  });

  it('becomes a database of whatever name, and the cluster stays when it is to be kept', async () => {
    const backupDir = path.join(recoveries.root, 'own');
    recoveries.makeFolder(backupDir);
    const end = await stage.run(
      ['restore', '--to-time', good, '--database', SHOP, '--to-database', ODD, '--keep', '--json'],
      { BACKUP_DIR: backupDir },
    );
    const json = end.json() as IntoJson;
    expect(json).toMatchObject({ database: ODD, keptAs: null, kept: true });
    expect(json.dataDir).toBe(`${backupDir}/recovered_hostmaster`);
    expect(await sql('SELECT count(*) FROM customers', ODD)).toBe('50');
    expect(recoveries.psql(json, 'SELECT datname FROM pg_database WHERE oid > 16000 ORDER BY 1')).toBe(SHOP);
    expect(end.printed).toContain(`is kept and open: psql -h ${json.socketDir} -p ${json.port}`);
    // The next one lies beside it.
    const plan = await stage.run(
      ['restore', '--to-time', good, '--database', SHOP, '--to-database', 'x', '--dry-run', '--json'],
      { BACKUP_DIR: backupDir },
    );
    expect(plan.json()).toMatchObject({ dataDir: `${backupDir}/recovered_hostmaster_2` });
    recoveries.end(json.dataDir);
  });

  it('takes the place of the live database, which is kept under another name', async () => {
    const there = await refused('--database', SHOP);
    expect(there).toMatchObject({ code: 'TARGET_NOT_EMPTY' });
    expect(existsSync(there.dataDir)).toBe(false);
    const { json } = await into('--database', SHOP, '--replace');
    expect(json.keptAs).toMatch(/^shop_before_\d{14}$/);
    expect(await sql('SELECT count(*) FROM invoices')).toBe('400');
    expect(await sql('SELECT count(*) FROM customers')).toBe('50');
    expect(await sql('SELECT count(*) FROM customers', json.keptAs!)).toBe('51');
  });

  it('keeps the cluster, stopped, when there is no table or database of that name in it', async () => {
    const table = await refused('--table', 'public.invoice', '--to-database', 'somewhere');
    expect(table.code).toBe('RESTORE_REFUSED');
    expect(table.message).toMatch(/no table public\.invoice; it has "public\.invoices"/);
    expect(table.hint).toContain(`is kept, stopped, in ${table.dataDir}`);
    expect(table.hint).toMatch(/To use it: .*pg_ctl -D .* start\n.*psql -h /);
    expect(table.hint).toMatch(/To remove it: .*rm -r /);
    expect(existsSync(path.join(table.dataDir, 'PG_VERSION'))).toBe(true);
    expectNoServer(table.dataDir);
    expect(await sql("SELECT count(*) FROM pg_database WHERE datname = 'somewhere'")).toBe('0');
    const database = await refused('--database', 'shopp');
    expect(database.message).toMatch(/no database "shopp"; it has "shop"/);
  });

  it('refuses options that do not go together, before anything is recovered', async () => {
    for (const [args, said] of [
      [['--table', 'customers', '--action', 'pause'], /--action does not go with this recovery/],
      [['--table', 'a b'], /no list of tables/],
      [['--replace'], /--replace does not go with this recovery/],
      [['--database', SHOP, '--to-database', 'template1', '--replace'], /new databases are made from it/],
    ] as const) {
      const { code, message, dataDir } = await refused(...args);
      expect([code, message]).toEqual(['USAGE', expect.stringMatching(said)]);
      expect(existsSync(dataDir)).toBe(false);
    }
    const dump = await stage.run(['restore', 'latest', '--database', SHOP, '--json']);
    expect((dump.json() as FailureJson).error.message).toMatch(/--database is for a recovery/);
  });

  /** Until the load waits for a table that somebody holds. */
  async function startWaiting(
    dataDir: string,
  ): Promise<{ agent: ReturnType<Stage['start']>; release: () => Promise<unknown> }> {
    const holding = sql('BEGIN; LOCK TABLE customers; SELECT pg_sleep(600)').catch(() => 'ended');
    const ours = "wait_event_type = 'Lock' AND application_name LIKE 'lifeboat%'";
    const waiting = `SELECT count(*) FROM pg_stat_activity WHERE ${ours}`;
    const held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    while ((await sql(held, 'postgres')) === '0') await sleep(20);
    const agent = stage.start([...recover(dataDir), ...aTable]);
    await agent.untilPrinted(/Restoring 1 table/);
    while ((await sql(waiting, 'postgres')) === '0') await sleep(20);
    const release = async (): Promise<unknown> => {
      await sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'pg_sleep' AND pid <> pg_backend_pid()",
        'postgres',
      );
      return await holding;
    };
    return { agent, release };
  }

  async function untilGone(pid: number): Promise<void> {
    while (isAlive(pid)) await sleep(50);
  }

  it('leaves no server and an untouched target when it is killed or interrupted, and goes well the next time', async () => {
    const before = await sql('SELECT count(*) FROM customers');
    const dataDir = recoveries.folder();
    const killed = await startWaiting(dataDir);
    const pid = postmasterOf(dataDir)!;
    killed.agent.kill('SIGKILL');
    await killed.agent.ended;
    await untilGone(pid);
    await killed.release();
    expect(await sql('SELECT count(*) FROM customers')).toBe(before);
    const interrupted = await startWaiting(dataDir);
    const next = postmasterOf(dataDir)!;
    expect(interrupted.agent.printed()).toMatch(/Clearing away what a recovery that was killed left/);
    interrupted.agent.killGroup('SIGINT');
    expect((await interrupted.agent.ended).status).toBe(130);
    await interrupted.release();
    await untilGone(next);
    expect(readdirSync(dataDir)).toEqual([]);
    expect(await sql('SELECT count(*) FROM customers')).toBe(before);
    const end = await stage.run([...recover(dataDir), ...aTable]);
    expect(end.printed).toMatch(/Rows verified: 1 table, 50 rows/);
    expect(await sql('SELECT count(*) FROM customers')).toBe('50');
  });
});
