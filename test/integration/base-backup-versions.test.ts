import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { postgresBinDir, reloadConfiguration } from '../postgres-server.ts';
import { Stage, useGround } from './backup-fixture.ts';
import {
  baseManifest,
  checksumOf,
  createTablespace,
  prefixOf,
  RestoredServer,
  Unpacked,
  type BaseBackupJson,
} from './base-backup-fixture.ts';

const BACKUP = ['backup', '--kind', 'base', '--json'];

describe.each([14, 16, 17, 18] as const)('A base backup of PostgreSQL %s', (major) => {
  const ground = useGround({ binDir: postgresBinDir(major) });

  it('restores with its tablespaces by zstd and tar alone', async () => {
    const { postgres } = ground();
    await createTablespace(ground(), 'apart');
    await postgres.psql(
      'postgres',
      `CREATE TABLE users AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 20000) i;
       CREATE TABLE in_apart TABLESPACE apart AS SELECT i AS id FROM generate_series(1, 5000) i`,
    );
    const stage = await Stage.set(ground(), {});
    const end = await stage.run(BACKUP);
    expect(end.printed).toContain('✅ Base backup completed successfully');
    const backup = end.json() as BaseBackupJson;
    const unpacked = await Unpacked.fetch(stage, backup);
    try {
      unpacked.rewriteTablespaceMap();
      const server = await RestoredServer.start(postgres, unpacked);
      for (const table of ['users', 'in_apart']) {
        expect(server.psql('postgres', checksumOf(table))).toBe(
          await postgres.psql('postgres', checksumOf(table)),
        );
      }
      await server.stop();
    } finally {
      unpacked.remove();
    }
    const { host, server, tablespaces } = await baseManifest(stage, backup);
    expect(host).toMatchObject({
      architecture: process.arch,
      libc: expect.stringMatching(/^glibc \d+\.\d+$/),
    });
    expect(Math.floor(server.versionNumber / 10_000)).toBe(major);
    expect(tablespaces.map(({ name }) => name)).toEqual(['apart']);
  });
});

describe.each([17, 18] as const)('Incremental base backups of PostgreSQL %s', (major) => {
  const ground = useGround({ binDir: postgresBinDir(major), settings: { summarize_wal: 'on' } });
  let stage: Stage;
  let full: BaseBackupJson;

  beforeAll(async () => {
    await ground().postgres.psql(
      'postgres',
      `CREATE TABLE large AS SELECT i AS id, repeat(md5(i::text), 30) AS body FROM generate_series(1, 30000) i`,
    );
    // Else the first to read the rows would mark them as committed, and so change every page.
    await ground().postgres.psql('postgres', 'VACUUM FREEZE; CHECKPOINT');
    stage = await Stage.set(ground(), { BASE_INCREMENTAL: 'on' });
    const end = await stage.run(BACKUP);
    expect(end.printed).toContain('A full one: there is no whole one of this cluster yet');
    full = end.json() as BaseBackupJson;
    await sleep(1000);
  });

  /** Bytes of the data directory's archive. */
  async function dataOf(backup: BaseBackupJson): Promise<number> {
    const { volumes } = await baseManifest(stage, backup);
    return volumes.filter(({ series }) => series === 'base').reduce((sum, { rawSize }) => sum + rawSize, 0);
  }

  it('hold what changed since the one before, and name their whole chain', async () => {
    const { postgres } = ground();
    expect(full).toMatchObject({ type: 'full', parent: null, chain: [] });
    await postgres.psql('postgres', 'UPDATE large SET body = body WHERE id < 20');
    const planned = await stage.run(['backup', '--kind', 'base', '--dry-run']);
    expect(planned.stdout).toContain(`kind   incremental, on ${full.label}`);
    const first = (await stage.run(BACKUP)).json() as BaseBackupJson;
    expect(first).toMatchObject({
      type: 'incremental',
      parent: full.label,
      chain: [full.label],
      warnings: [],
    });
    expect(await dataOf(first)).toBeLessThan((await dataOf(full)) / 2);
    await sleep(1000);
    const end = await stage.run(BACKUP);
    expect(end.printed).toContain(`Starting base backup, incremental on ${first.label}...`);
    const second = end.json() as BaseBackupJson;
    expect(second.chain).toEqual([full.label, first.label]);
    const volume = await stage.object(`${prefixOf(second)}base-00001.tar.zst`);
    const tar = execFileSync('zstd', ['-dc'], { input: volume, maxBuffer: 1 << 30 });
    const names = execFileSync('tar', ['-t'], { input: tar, maxBuffer: 1 << 26 }).toString();
    expect(names).toMatch(/INCREMENTAL\./);
    const list = await stage.run(['list']);
    expect(list.stdout).toContain(`incremental on ${first.label}`);
  });

  it('make place for a full one, with the reason, when the server keeps no account of changes', async () => {
    const { postgres } = ground();
    await postgres.psql('postgres', 'ALTER SYSTEM SET summarize_wal = off');
    await reloadConfiguration(postgres);
    const off = await stage.run(BACKUP);
    expect(off.printed).toContain('A full one: the server’s summarize_wal is off');
    expect(off.json()).toMatchObject({ succeeded: true, type: 'full' });
    await postgres.psql('postgres', 'ALTER SYSTEM RESET summarize_wal');
    await reloadConfiguration(postgres);
  });

  it('make place for a full one, with the server’s words, when it will not build on the last one', async () => {
    await sleep(1000);
    const parent = (await stage.run(BACKUP)).json() as BaseBackupJson;
    expect(parent.type).toBe('incremental');
    const { backupManifest } = await baseManifest(stage, parent);
    await stage.put(`${prefixOf(parent)}backup_manifest`, Buffer.alloc(backupManifest!.size, ' '));
    await sleep(1000);
    const end = await stage.run(BACKUP);
    expect(end.printed).toMatch(/A full backup instead of an incremental one: .*manifest/);
    expect(end.json()).toMatchObject({ succeeded: true, type: 'full', chain: [] });
  });
});
