import { execFileSync } from 'node:child_process';
import {
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { formatLsn } from '../../../lib/domain/wal/lsn.ts';
import {
  parseBackupManifest,
  type BackupManifest,
} from '../../../scripts/agent/data-path/tar/backup-manifest.ts';
import {
  POSTGRES_MAJORS,
  postgresBinDir,
  startPostgres,
  type PostgresServer,
} from '../../postgres-server.ts';
import { membersOf, withFiles } from '../cluster-files/fixture.ts';
import {
  compareWithManifest,
  connectTo,
  FULL,
  noWalSender,
  query,
  relocateTablespaces,
  takeBackup,
  unpackBackup,
  withReplication,
  type StoredBackup,
} from './fixture.ts';

/** Rows in three places: the data directory and two tablespaces, one with a name that needs quotes. */
async function fill(server: PostgresServer): Promise<void> {
  for (const name of ['one', 'and two']) {
    const { uid, gid } = statSync(server.dataDir);
    const folder = path.join(path.dirname(server.dataDir), `space ${name}`);
    mkdirSync(folder, { mode: 0o700 });
    chownSync(folder, uid, gid);
    await query(server, `CREATE TABLESPACE "${name}" LOCATION '${folder}'`);
  }
  await query(
    server,
    `CREATE TABLE here AS SELECT n, repeat(md5(n::text), 20) AS text FROM generate_series(1, 9000) n;
     CREATE TABLE there TABLESPACE one AS SELECT * FROM here LIMIT 6000;
     CREATE TABLE elsewhere TABLESPACE "and two" AS SELECT * FROM here LIMIT 3000;
     CREATE TABLE empty (n int) TABLESPACE "and two";`,
  );
}

function readFileEnd(file: string, length: number): Buffer {
  return readFileSync(file).subarray(-length);
}

function listTar(file: string): string[] {
  return execFileSync('tar', ['--list', '--file', file], { encoding: 'utf8' }).trim().split('\n');
}

/** Each backup has its own. */
function isWal(name: string): boolean {
  return /^pg_wal\/(?:archive_status\/)?[0-9A-F]{24}(?:\.done)?$/.test(name);
}

/** With each checkpoint. */
const CHANGES = new Set(['backup_label', 'global/pg_control', 'pg_logical/replorigin_checkpoint']);

function manifestOf({ manifest }: StoredBackup): BackupManifest {
  return parseBackupManifest(readFileSync(manifest), manifest);
}

describe.each(POSTGRES_MAJORS)('A base backup of PostgreSQL %i', (major) => {
  let server: PostgresServer;
  let backup: StoredBackup;

  beforeAll(async () => {
    server = await startPostgres({ binDir: postgresBinDir(major) });
    await fill(server);
    backup = await withReplication(server, (replication) => {
      expect(Math.floor(replication.versionNumber / 10_000)).toBe(major);
      return takeBackup(replication, FULL);
    });
  });

  afterAll(async () => {
    rmSync(backup.folder, { recursive: true, force: true });
    await server.remove();
  });

  it('names its tablespaces, the data directory last', async () => {
    const known = await query(server, `SELECT oid FROM pg_tablespace WHERE oid > 16383 ORDER BY oid`);
    const oids = known.split('\n').map(Number);
    expect(new Set(backup.tablespaces.map(({ oid }) => oid))).toEqual(new Set([...oids, null]));
    expect(backup.order).toEqual(backup.tablespaces.map(({ oid }) => oid));
    expect(backup.order.at(-1)).toBeNull();
    for (const { oid, location, sizeBytes } of backup.tablespaces) {
      expect(sizeBytes).toBeGreaterThan(1_000_000);
      expect(location === null).toBe(oid === null);
      if (location) expect(location).toContain('/space ');
    }
  });

  it('is one whole tar for each of them', () => {
    for (const [oid, tar] of backup.tars) {
      const names = listTar(tar);
      expect(readFileEnd(tar, 1024).equals(Buffer.alloc(1024))).toBe(true);
      // Without a member that has been cut, and with nothing after its end.
      expect(statSync(tar).size % 512).toBe(0);
      if (oid !== null) {
        expect(names.every((name) => name.startsWith(`PG_${major}_`))).toBe(true);
        continue;
      }
      expect(names[0]).toBe('backup_label');
      expect(names).toContain('tablespace_map');
      expect(names).toContain('global/pg_control');
      const wal = names.filter((name) => /^pg_wal\/[0-9A-F]{24}$/.test(name));
      expect(wal.length).toBeGreaterThan(0);
    }
  });

  it('says how far it is, up to about its size', () => {
    const total = [...backup.tars.values()].reduce((sum, tar) => sum + statSync(tar).size, 0);
    expect(backup.progress.length).toBeGreaterThan(2);
    expect([...backup.progress].sort((a, b) => a - b)).toEqual(backup.progress);
    expect(Math.abs(backup.progress.at(-1)! - total)).toBeLessThan(5000);
  });

  it('starts as a server of its own, with everything in it', async () => {
    const restored = await startPostgres({ binDir: postgresBinDir(major) });
    try {
      await restored.stop('immediate');
      const places = unpackBackup(backup, restored);
      expect(places.size).toBe(2);
      expect(compareWithManifest(backup, restored.dataDir, places)).toEqual([]);
      relocateTablespaces(restored, places);
      await restored.start();
      for (const table of ['here', 'there', 'elsewhere', 'empty']) {
        const hash = `SELECT count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM ${table} t`;
        expect(await query(restored, hash)).toBe(await query(server, hash));
      }
      expect(await query(restored, `SELECT count(*) FROM pg_tablespace WHERE oid > 16383`)).toBe('2');
    } finally {
      await restored.remove();
    }
  });

  it('is the same when its files are read where they lie', async () => {
    const read = await withFiles(server, (sender) => takeBackup(sender, FULL));
    const sent = await withReplication(server, (replication) => takeBackup(replication, FULL));
    try {
      expect(read.order).toEqual(sent.order);
      const locations = (each: StoredBackup) => each.tablespaces.map(({ oid, location }) => [oid, location]);
      expect(locations(read)).toEqual(locations(sent));
      for (const oid of sent.order) {
        const [ours, theirs] = [membersOf(read, oid), membersOf(sent, oid)];
        const kept = (names: Iterable<string>) => [...names].filter((name) => !isWal(name)).toSorted();
        expect(kept(ours.keys())).toEqual(kept(theirs.keys()));
        for (const [name, { header, body }] of theirs) {
          if (isWal(name)) continue;
          expect({ name, header: ours.get(name)!.header }).toEqual({ name, header });
          if (!CHANGES.has(name)) expect([name, ours.get(name)!.body.equals(body)]).toEqual([name, true]);
        }
        expect(readFileEnd(read.tars.get(oid)!, 1024).equals(Buffer.alloc(1024))).toBe(true);
      }
      const { systemIdentifier, version, files, walRanges } = manifestOf(read);
      expect({ systemIdentifier, version }).toMatchObject({ version: major < 17 ? 1 : 2 });
      const paths = (each: { path: string }[]) =>
        each.map(({ path: file }) => file).filter((file) => !isWal(file));
      expect(paths([...files]).toSorted()).toEqual(paths([...manifestOf(sent).files]).toSorted());
      expect(walRanges.map(({ end }) => end)).toEqual([read.end.lsn]);
      expect(read.end).toMatchObject({ checksumFailures: 0, warnings: [] });
    } finally {
      for (const { folder } of [read, sent]) rmSync(folder, { recursive: true });
    }
  });

  it('says where it began and ended', async () => {
    await withReplication(server, async (replication) => {
      const stored = await takeBackup(replication, { ...FULL, wal: false, manifest: false });
      const label = execFileSync('tar', ['-xOf', stored.tars.get(null)!, 'backup_label'], {
        encoding: 'utf8',
      });
      expect(label).toContain('LABEL: test\n');
      const start = /START WAL LOCATION: (\S+)/.exec(label)![1];
      const running = await replication.baseBackup({ ...FULL, label: `it's "x"` });
      expect(formatLsn(running.start.lsn) > start!).toBe(true);
      expect(running.start.timeline).toBe(1);
      for await (const piece of running.pieces())
        expect(piece.kind).toMatch(/archive|data|manifest|progress/);
      const end = await running.finished();
      expect(end).toMatchObject({ timeline: 1, checksumFailures: 0, warnings: [] });
      expect(end.lsn > running.start.lsn).toBe(true);
      // Neither WAL nor manifest was asked for.
      expect(listTar(stored.tars.get(null)!).filter((name) => /pg_wal\/[0-9A-F]{24}/.test(name))).toEqual([]);
      expect(() => statSync(stored.manifest)).toThrow('ENOENT');
      rmSync(stored.folder, { recursive: true });
    });
    await noWalSender(server);
  });

  it('keeps to a rate', async () => {
    await withReplication(server, async (replication) => {
      const running = await replication.baseBackup({ ...FULL, wal: false, maxRateKbps: 4096 });
      const begun = Date.now();
      let bytes = 0;
      for await (const piece of running.pieces()) {
        if (piece.kind === 'data') bytes += piece.bytes.length;
        if (bytes > 6 * 1024 * 1024) break;
      }
      expect(Date.now() - begun).toBeGreaterThan(800);
    });
  });

  it('carries damaged pages, and counts them', async () => {
    const file = await query(server, `SELECT pg_relation_filepath('here')`);
    await server.stop();
    const handle = openSync(path.join(server.dataDir, file), 'r+');
    for (const block of [2, 5, 7]) writeSync(handle, Buffer.from('damage'), 0, 6, block * 8192 + 4000);
    closeSync(handle);
    await server.start();
    await withReplication(server, async (replication) => {
      const stored = await takeBackup(replication, FULL);
      expect(stored.end.checksumFailures).toBe(3);
      expect(stored.end.warnings.join('\n')).toContain(file);
      expect(listTar(stored.tars.get(null)!)).toContain(file);
      // The connection is as good as before.
      expect((await replication.identify()).timeline).toBe(1);
      rmSync(stored.folder, { recursive: true });
    });
  });
});

describe('A base backup', () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgres({ binDir: postgresBinDir(14) });
  });

  afterAll(async () => {
    await server.remove();
  });

  it('is refused where it cannot be had, before anything was asked of the server', async () => {
    const replication = await connectTo(server);
    const empty = (async function* (): AsyncGenerator<Buffer> {})();
    for (const wrong of [{ maxRateKbps: 31 }, { maxRateKbps: 1e7 }, { incrementalManifest: empty }]) {
      await expect(replication.baseBackup({ ...FULL, ...wrong })).rejects.toMatchObject({
        code: 'SETTINGS_INVALID',
      });
    }
    expect((await replication.identify()).timeline).toBe(1);
    await replication.close();
  });

  it('knows its end only after all was read', async () => {
    const replication = await connectTo(server);
    const running = await replication.baseBackup(FULL);
    await expect(running.finished()).rejects.toMatchObject({ code: 'BUG' });
    running.abort();
    await replication.close();
    await noWalSender(server);
  });
});
