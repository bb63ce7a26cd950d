import { Stage, useGround, type FailureJson } from './backup-fixture.ts';
import { baseManifest, createTablespace, prefixOf, type BaseBackupJson } from './base-backup-fixture.ts';

const ground = useGround();
const DATABASE = 'hostmaster_prod';
const NO_DAYS = { LOCAL_RETENTION_DAYS: '1', S3_RETENTION_DAYS: '1' };

interface VerifyJson {
  readonly copies: readonly { readonly id: string; readonly store: string; readonly verdict: string }[];
  readonly error?: FailureJson['error'];
}

interface RetentionJson {
  readonly s3: {
    readonly action: string;
    readonly bases: readonly { readonly label: string; readonly expire: boolean; readonly reason: string }[];
    readonly wal: readonly {
      readonly archive: { readonly stays: number; readonly expired: readonly string[] };
      readonly state: { readonly stays: number; readonly expired: readonly string[] };
    }[];
  };
}

describe('A base backup that is looked after', () => {
  let stage: Stage;
  let backup: BaseBackupJson;

  beforeAll(async () => {
    const { postgres } = ground();
    await postgres.createDatabase(DATABASE);
    await createTablespace(ground(), 'fast');
    await postgres.psql(
      DATABASE,
      'CREATE TABLE in_fast TABLESPACE fast AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 5000) i',
    );
    stage = await Stage.set(ground(), { DB_NAME: undefined });
    const end = await stage.run(['backup', '--kind', 'base', '--json']);
    if (end.status !== 0) throw new Error(end.printed);
    backup = end.json() as BaseBackupJson;
  });

  it('is read again, every byte, and every file that PostgreSQL’s own list names is found', async () => {
    const named = await stage.run(['verify', backup.label]);
    expect(named.printed).toContain('1 of 1 copies good');
    const end = await stage.run(['verify', '--all', '--json']);
    expect((end.json() as VerifyJson).copies).toMatchObject([
      { id: backup.label, store: 's3', verdict: 'proven' },
    ]);
  });

  it('opens the restorable window that status shows', async () => {
    const { stopTime } = await baseManifest(stage, backup);
    const status = await stage.run(['status']);
    expect(status.stdout).toMatch(/^Restorable +\d{4}-.*Z to \d{4}-.*Z, timeline 1$/m);
    expect((await stage.run(['status', '--json'])).json()).toMatchObject({
      window: { systemIdentifier: backup.systemIdentifier, earliest: { time: stopTime } },
    });
  });

  it.each(['hostmaster_base_20200101_000000', 'hostmaster_db_20200101_000000', '../etc/passwd'])(
    'is not taken for %s',
    async (id) => {
      const end = await stage.run(['verify', id, '--json']);
      expect(end.status).not.toBe(0);
      expect((end.json() as FailureJson).error.message).toContain(JSON.stringify(id).slice(1, -1));
    },
  );

  it('stays while it is young, as does the WAL beside it, and retention says so', async () => {
    const wal = `pitr/hostmaster/${backup.systemIdentifier}/wal/00000001`;
    const old = `${wal}/000000010000000000000000.zst`;
    await stage.put(old, 'WAL from before it');
    const end = await stage.run(['retention', '--dry-run', '--json'], NO_DAYS);
    const { s3 } = end.json() as RetentionJson;
    expect(s3).toMatchObject({
      action: 'none',
      bases: [
        {
          label: backup.label,
          expire: false,
          reason: 'the newest verified base backup is never removed',
        },
      ],
    });
    // Younger than a day, though nothing needs it.
    expect(s3.wal[0]!.archive).toEqual({ stays: 1, expired: [] });
    const shown = await stage.run(['retention', '--dry-run'], NO_DAYS);
    expect(shown.stdout).toMatch(new RegExp(`^${backup.label} +usable .* stays +the newest verified`, 'm'));
    expect(shown.stdout).toMatch(/^WAL of the cluster \d+: 1 object stays, 0 would go;/m);
  });

  /** What others than this host can see of it. */
  const verdicts = async (): Promise<string[]> =>
    (await stage.keys()).filter((key) => key.startsWith('verdicts/') && key.includes(backup.label));

  it.each([
    ['a byte of a volume', 'ts-'],
    ['a byte of PostgreSQL’s list', 'backup_manifest'],
  ])('is called damaged when %s has changed, in the journal and in list as well', async (_, file) => {
    const prefix = prefixOf(backup);
    const key = (await stage.keys()).find((each) => each.startsWith(prefix + file))!;
    const whole = await stage.object(key);
    const damaged = Buffer.from(whole);
    damaged[Math.floor(damaged.length / 2)]! ^= 1;
    await stage.put(key, damaged);
    try {
      const end = await stage.run(['verify', backup.label, '--json']);
      expect(end.json()).toMatchObject({
        copies: [{ id: backup.label, verdict: 'failed' }],
        error: { code: 'CORRUPT' },
      });
      expect((await stage.run(['list'])).stdout).toContain('❌ damaged: ');
      expect((await verdicts()).at(-1)).toMatch(/-damaged\.json$/);
    } finally {
      await stage.put(key, whole);
    }
    expect((await stage.run(['verify', backup.label])).status).toBe(0);
    expect((await stage.run(['list'])).stdout).toMatch(new RegExp(`${backup.label} .*✅`));
    expect((await verdicts()).at(-1)).toMatch(/-sound\.json$/);
  });
});
