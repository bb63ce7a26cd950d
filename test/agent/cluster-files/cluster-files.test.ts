import { execFileSync } from 'node:child_process';
import {
  chownSync,
  closeSync,
  cpSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { whyOtherFolder } from '../../../scripts/agent/cluster-files/same-host.ts';
import { postgresBinDir, startPostgres, type PostgresServer } from '../../postgres-server.ts';
import {
  eventually,
  FULL,
  query,
  settingsOf,
  takeBackup,
  withReplication,
  type StoredBackup,
} from '../replication/fixture.ts';
import { factsOf, membersOf, openFiles, refusalOf, withFiles } from './fixture.ts';

let server: PostgresServer;
const kept: string[] = [];

beforeAll(async () => {
  // Older ones pass over tablespaces in place.
  server = await startPostgres({
    binDir: postgresBinDir(17),
    settings: { allow_in_place_tablespaces: 'on' },
  });
  await query(
    server,
    `CREATE TABLE rows WITH (autovacuum_enabled = off) AS SELECT n, repeat(md5(n::text), 20) AS text FROM generate_series(1, 9000) n`,
  );
});

afterAll(async () => {
  await server?.remove();
  for (const folder of kept) rmSync(folder, { recursive: true, force: true });
});

/** Of the same cluster, its files read and its files sent. */
async function bothWays(): Promise<{ read: StoredBackup; sent: StoredBackup }> {
  const read = await withFiles(server, (sender) => takeBackup(sender, FULL));
  const sent = await withReplication(server, (replication) => takeBackup(replication, FULL));
  kept.push(read.folder, sent.folder);
  return { read, sent };
}

function giveToServer(file: string): void {
  const { uid, gid } = statSync(server.dataDir);
  chownSync(file, uid, gid);
}

const isWal = (name: string): boolean => /[0-9A-F]{24}/.test(name);
const namesOf = (backup: StoredBackup, oid: number | null = null): string[] =>
  [...membersOf(backup, oid).keys()].filter((name) => !isWal(name)).toSorted();

describe('A backup of the files of a cluster on this host', () => {
  it('holds and leaves out what the server’s does, whatever lies in the folder', async () => {
    const at = (...names: string[]): string => path.join(server.dataDir, ...names);
    await query(
      server,
      `CREATE UNLOGGED TABLE scratch (n int PRIMARY KEY); INSERT INTO scratch VALUES (1);
`,
    );
    await server.psql('postgres', `CREATE TABLESPACE in_place LOCATION ''`);
    mkdirSync(at('inside'), { mode: 0o700 });
    giveToServer(at('inside'));
    await query(server, `CREATE TABLESPACE inside LOCATION '${at('inside')}'`);
    await query(
      server,
      'CREATE TABLE spaced TABLESPACE in_place AS SELECT 1; CREATE TABLE deep TABLESPACE inside AS SELECT 2',
    );
    const database = path.dirname(await query(server, `SELECT pg_relation_filepath('rows')`));
    for (const [name, text] of [
      ['backup_label', 'of an older backup'],
      ['backup_manifest', 'of an older backup'],
      ['current_logfiles', 'stderr log/x.log'],
      ['current_logfiles.tmp', ''],
      ['postgresql.auto.conf.tmp', ''],
      ['.DS_Store', ''],
      ['pg_notify/0001', 'x'],
      ['pg_stat_tmp/global.stat', 'x'],
      ['pg_internal.init.123', ''],
      [`${database}/pgsql_tmp12.0`, 'x'],
      [`${database}/t3_99999`, 'x'],
      [`${database}/t3_99999_fsm.1`, 'x'],
      [`${database}/notes with spaces`, 'x'],
      ['base/t3_99999', 'no temporary relation there'],
    ] as const) {
      writeFileSync(at(name), text, { mode: 0o600 });
      giveToServer(at(name));
    }
    symlinkSync('/etc/passwd', at('link'));
    execFileSync('mkfifo', [at('pipe')]);
    giveToServer(at('pipe'));
    const { read, sent } = await bothWays();
    for (const name of ['backup_label', 'link', 'pipe']) rmSync(at(name));
    expect(read.order).toEqual(sent.order);
    for (const oid of sent.order) expect(namesOf(read, oid)).toEqual(namesOf(sent, oid));
    expect(read.order).toHaveLength(3);
    expect(namesOf(read)).toEqual(
      expect.arrayContaining(['base/t3_99999', 'current_logfiles', `${database}/notes with spaces`]),
    );
    expect(namesOf(read).join('\n')).not.toMatch(/pgsql_tmp|pg_internal|DS_Store|inside\/PG|passwd/);
    // The server looks at everything twice, once for the progress.
    expect(new Set(read.end.warnings)).toEqual(new Set(sent.end.warnings));
    expect(read.end.warnings).toHaveLength(2);
    const text = (backup: StoredBackup) => membersOf(backup).get('tablespace_map')!.body.toString();
    expect(text(read)).toBe(text(sent));
    expect(text(read)).toContain(`${at('inside')}\n`);
    await query(server, 'DROP TABLE spaced, deep; DROP TABLESPACE in_place; DROP TABLESPACE inside');
  });

  it('finds the damaged pages that the server finds, and holds them as they are', async () => {
    await query(
      server,
      `CREATE TABLE hurt WITH (autovacuum_enabled = off) AS SELECT n, repeat('x', 500) FROM generate_series(1, 4000) n; CHECKPOINT`,
    );
    const name = await query(server, `SELECT pg_relation_filepath('hurt')`);
    const handle = openSync(path.join(server.dataDir, name), 'r+');
    const blocks = [3, 7, 8, 100, 120, 130, 131];
    for (const block of blocks) writeSync(handle, Buffer.from('damage'), 0, 6, block * 8192 + 4000);
    closeSync(handle);
    const { read, sent } = await bothWays();
    expect(read.end.checksumFailures).toBe(blocks.length);
    expect(sent.end.checksumFailures).toBe(blocks.length);
    const told = ({ end }: StoredBackup) =>
      end.warnings.filter((line) => line.includes(name)).map((line) => line.replace(/: calculated .*/, ''));
    expect(told(read)).toEqual(told(sent));
    expect(membersOf(read).get(name)!.body.equals(membersOf(sent).get(name)!.body)).toBe(true);
    await query(server, 'DROP TABLE hurt; CHECKPOINT');
  });

  it('fails when its session ends', async () => {
    const killed = withFiles(server, async (sender) => {
      const running = await sender.baseBackup(FULL);
      for await (const piece of running.pieces()) {
        if (piece.kind !== 'data') continue;
        await query(
          server,
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lifeboat_base'`,
        );
      }
      return await running.finished();
    });
    await expect(killed).rejects.toMatchObject({ code: 'DB_LOST' });
  });

  it('ends with the reason of an interruption, also while the server is at its checkpoint', async () => {
    const stop = new AbortController();
    const opened = await openFiles(server, { interrupted: stop.signal });
    if (!('sender' in opened)) throw new Error(opened.reason);
    const starting = opened.sender.baseBackup(FULL);
    stop.abort(new Error('that is enough'));
    await expect(starting).rejects.toThrow('that is enough');
    await opened.sender.close();
  });
});

describe('The files of a cluster are left to PostgreSQL', () => {
  it('where that is wanted, of a standby, and where pages have another size', async () => {
    expect(await refusalOf(server, { use: 'never' })).toBe('BASE_BACKUP_FILES is never');
    expect(await refusalOf(server, { facts: { standby: true } })).toBe('the server is a standby');
    expect(await refusalOf(server, { facts: { blockSize: 16384 } })).toContain('16384 bytes');
    const { configuration } = await factsOf(settingsOf(server));
    const elsewhere = { ...configuration, serverAddress: '192.0.2.1' };
    expect(await refusalOf(server, { facts: { configuration: elsewhere } })).toContain('another host');
  });

  it('where the session is another server’s than the one whose copy lies here', async () => {
    const copy = path.join(path.dirname(server.dataDir), 'copy');
    kept.push(copy);
    const facts = await factsOf(settingsOf(server));
    const configuration = { ...facts.configuration, dataDirectory: copy };
    expect(await refusalOf(server, { facts: { configuration } })).toContain('no running cluster');
    await query(server, 'CHECKPOINT');
    cpSync(server.dataDir, copy, {
      recursive: true,
      // What goes in the meantime, and sockets.
      filter: (file) => !/pg_wal\/|pg_stat_tmp\/|\.s\.PGSQL/.test(file),
    });
    expect(await refusalOf(server, { facts: { configuration } })).toContain(`is of ${server.dataDir}`);
    // In a folder of one's own; that of another user's process only some may see.
    expect(await whyOtherFolder('/proc/self/cwd', copy)).toContain('another folder for the server');
    expect(await whyOtherFolder('/proc/self/cwd', process.cwd())).toBeUndefined();
    expect(await whyOtherFolder('/proc/self/cwd/no-such', copy)).toContain('cannot be found here');
    const pid = readFileSync(path.join(server.dataDir, 'postmaster.pid'), 'utf8').replace(
      server.dataDir,
      copy,
    );
    writeFileSync(path.join(copy, 'postmaster.pid'), pid.replace(/^\d+/, String(process.pid)));
    expect(await refusalOf(server, { facts: { configuration } })).toContain('none of this host’s');
    const other = await startPostgres();
    try {
      const text = readFileSync(path.join(other.dataDir, 'postmaster.pid'), 'utf8');
      writeFileSync(path.join(copy, 'postmaster.pid'), text.replace(other.dataDir, copy));
      expect(await refusalOf(server, { facts: { configuration } })).toMatch(
        /none of this host’s|another time/,
      );
    } finally {
      await other.remove();
    }
  });

  it('where a role may not see the folder, or not begin a backup, and said how that is mended', async () => {
    await query(server, `CREATE ROLE copier LOGIN REPLICATION PASSWORD 'copier'`);
    const settings = { user: 'copier', password: 'copier' };
    expect(await refusalOf(server, { settings })).toContain('GRANT pg_read_all_settings');
    await query(server, 'GRANT pg_read_all_settings TO copier');
    const refused = await openFiles(server, { settings });
    expect(refused).toMatchObject({ mendable: true });
    const [, grant] = /\((GRANT .*) TO it\)/.exec('reason' in refused ? refused.reason : '') as unknown as [
      string,
      string,
    ];
    await query(server, `${grant} TO copier`);
    expect(await refusalOf(server, { settings })).toBe('none');
    // In the database that is backed up, where another would do, the session would be in the way of others.
    const expectUsed = async (name: string, used: string): Promise<void> => {
      const opened = await openFiles(server, { settings: { ...settings, name } });
      if (!('sender' in opened)) throw new Error(opened.reason);
      const databases = `SELECT string_agg(datname, ' ') FROM pg_stat_activity WHERE application_name = 'lifeboat_base'`;
      // One that was closed may still be about to go.
      await eventually(async () => expect(await query(server, databases)).toBe(used));
      await opened.sender.close();
    };
    await server.createDatabase('other');
    await expectUsed('other', 'postgres');
    await server.psql('other', `${grant} TO copier`);
    await query(server, `${grant.replace('GRANT', 'REVOKE')} FROM copier`);
    await expectUsed('other', 'other');
  });
});
