import { execFileSync } from 'node:child_process';
import { appendFileSync, chmodSync, chownSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { connectReplication } from '../../../scripts/agent/replication/connect.ts';
import { reloadConfiguration, usePostgres } from '../../postgres-server.ts';
import {
  connectTo,
  eventually,
  FULL,
  iterate,
  noWalSender,
  query,
  settingsOf,
  takeBackup,
} from './fixture.ts';

const server = usePostgres();

async function reload(): Promise<void> {
  await reloadConfiguration(server());
}

function rules(): string {
  return path.join(server().dataDir, 'pg_hba.conf');
}

describe('A replication connection', () => {
  it('is had over TCP and over the Unix socket, with a password of awkward characters', async () => {
    expect(server().password).toMatch(/['"$\\:@/%]/);
    for (const host of ['127.0.0.1', 'localhost', server().socketDir]) {
      const replication = await connectReplication(settingsOf(server(), { host }), {});
      expect(replication.versionNumber).toBeGreaterThan(140_000);
      expect((await replication.identify()).systemIdentifier).toMatch(/^\d{15,20}$/);
      await replication.close();
    }
    await noWalSender(server());
  });

  it('shows settings, and says which right is missing for some', async () => {
    await query(server(), `CREATE ROLE copier LOGIN REPLICATION PASSWORD 'c'`);
    const user = { user: 'copier', password: 'c' };
    const replication = await connectReplication(settingsOf(server(), user), {});
    expect(await replication.show('wal_segment_size')).toBe('16MB');
    expect(await replication.show('wal_sender_timeout')).toBe('1min');
    await expect(replication.show('hba_file')).rejects.toMatchObject({ code: 'DB_RIGHTS' });
    await expect(replication.show('no_such_setting')).rejects.toMatchObject({ code: 'DB_QUERY' });
    await expect(replication.show('x; DROP')).rejects.toMatchObject({ code: 'BUG' });
    // REPLICATION is all that it takes.
    const { timeline, flushLsn } = await replication.identify();
    const running = await replication.baseBackup(FULL);
    expect(running.start.timeline).toBe(timeline);
    for await (const piece of running.pieces()) expect(piece).toBeDefined();
    await (await replication.streamWal({ timeline, from: flushLsn })).stop();
    await replication.close();
  });

  it('does one thing at a time', async () => {
    const replication = await connectTo(server());
    const running = await replication.baseBackup(FULL);
    await expect(replication.identify()).rejects.toMatchObject({ code: 'BUG' });
    running.abort();
    await expect(replication.identify()).rejects.toMatchObject({ code: 'BUG' });
    await replication.close();
    await replication.close();
    await noWalSender(server());
  });

  it('is refused to a role without REPLICATION, with the statement that grants it', async () => {
    await query(server(), `CREATE ROLE "App-User" LOGIN PASSWORD 'c'`);
    const user = { user: 'App-User', password: 'c' };
    await expect(connectReplication(settingsOf(server(), user), {})).rejects.toMatchObject({
      code: 'DB_RIGHTS',
      hint: expect.stringContaining('ALTER ROLE "App-User" REPLICATION;'),
    });
  });

  it('is refused with a wrong password, of which nothing is said', async () => {
    const refused = connectReplication(settingsOf(server(), { password: 'wr0ng' }), {});
    await expect(refused).rejects.toMatchObject({ code: 'DB_CONNECT' });
    await expect(refused).rejects.not.toMatchObject({ message: expect.stringContaining('wr0ng') });
  });

  it('is refused where nothing listens', async () => {
    await expect(connectReplication(settingsOf(server(), { port: 1 }), {})).rejects.toMatchObject({
      code: 'DB_CONNECT',
    });
  });

  it('is refused when all senders are taken, saying what to raise', async () => {
    await query(server(), 'ALTER SYSTEM SET max_wal_senders = 1');
    await server().restart();
    const first = await connectTo(server());
    await expect(connectTo(server())).rejects.toMatchObject({
      code: 'DB_CONNECT',
      hint: expect.stringContaining('max_wal_senders'),
    });
    await first.close();
  });

  it('is refused when replication is off, saying how to switch it on', async () => {
    await query(server(), 'ALTER SYSTEM SET max_wal_senders = 0');
    await query(server(), 'ALTER SYSTEM SET wal_level = minimal');
    await server().restart();
    await expect(connectTo(server())).rejects.toMatchObject({
      code: 'DB_CONNECT',
      hint: expect.stringContaining('wal_level = replica'),
    });
    await query(server(), 'ALTER SYSTEM RESET ALL');
    await server().restart();
  });

  it('is refused when it would be a synchronous standby', async () => {
    const replication = await connectTo(server());
    await query(server(), `ALTER SYSTEM SET synchronous_standby_names = '*'`);
    await reload();
    const untilNoticed = async (value: string) =>
      await eventually(async () => expect(await replication.show('synchronous_standby_names')).toBe(value));
    await untilNoticed('*');
    const { timeline, flushLsn: from } = await replication.identify();
    await expect(replication.streamWal({ timeline, from })).rejects.toMatchObject({ code: 'SYNC_STANDBY' });
    await query(server(), 'ALTER SYSTEM RESET ALL');
    await reload();
    await untilNoticed('');
    const stream = await replication.streamWal({ timeline, from });
    await stream.stop();
    await replication.close();
  });

  it('is refused without a line in pg_hba.conf, which is then told', async () => {
    const before = readFileSync(rules(), 'utf8');
    await query(server(), 'CREATE ROLE streamer LOGIN REPLICATION');
    writeFileSync(rules(), 'local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n');
    await reload();
    const user = { user: 'streamer', password: 'x' };
    await expect(connectReplication(settingsOf(server(), user), {})).rejects.toMatchObject({
      code: 'DB_CONNECT',
      hint: expect.stringContaining('host replication streamer 127.0.0.1/32 scram-sha-256'),
    });
    const local = { ...user, host: server().socketDir };
    await expect(connectReplication(settingsOf(server(), local), {})).rejects.toMatchObject({
      code: 'DB_CONNECT',
      hint: expect.stringContaining('local replication streamer scram-sha-256'),
    });
    writeFileSync(rules(), before);
    await reload();
  });
});

describe('A replication connection with TLS', () => {
  beforeAll(async () => {
    const { dataDir } = server();
    const [key, certificate] = [path.join(dataDir, 'server.key'), path.join(dataDir, 'server.crt')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
    const files = ['-keyout', key, '-out', certificate];
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...subject, ...files],
      { stdio: 'ignore' },
    );
    const { uid, gid } = statSync(dataDir);
    for (const file of [key, certificate]) {
      chownSync(file, uid, gid);
      chmodSync(file, 0o600);
    }
    const others = readFileSync(rules(), 'utf8');
    writeFileSync(
      rules(),
      `hostssl replication all 127.0.0.1/32 scram-sha-256\nhost replication all all reject\n`,
    );
    appendFileSync(rules(), others);
    await query(server(), 'ALTER SYSTEM SET ssl = on');
    await server().restart();
    await query(server(), `CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 200000) n`);
  });

  it('brings whole base backups and WAL', async () => {
    const environment = {
      PGSSLMODE: 'verify-full',
      PGSSLROOTCERT: path.join(server().dataDir, 'server.crt'),
    };
    const replication = await connectReplication(settingsOf(server()), environment);
    const encrypted = await query(
      server(),
      `SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE backend_type = 'walsender'`,
    );
    expect(encrypted).toBe('t');
    const { flushLsn } = await replication.identify();
    const backup = await takeBackup(replication, FULL);
    const list = execFileSync('tar', ['-tf', backup.tars.get(null)!], { encoding: 'utf8' });
    expect(list).toContain('global/pg_control');
    expect(backup.end.lsn > flushLsn).toBe(true);
    const from = backup.end.lsn;
    await query(server(), 'CREATE TABLE more AS SELECT 1');
    const stream = await replication.streamWal({ timeline: 1, from });
    await expect(iterate(stream).next()).resolves.toMatchObject({ value: { kind: 'wal', start: from } });
    await replication.close();
    await noWalSender(server());
  });

  it('is refused when PGSSLMODE says disable, or without the authority of the certificate', async () => {
    for (const environment of [{ PGSSLMODE: 'disable' }, { PGSSLMODE: 'verify-ca' }]) {
      await expect(connectReplication(settingsOf(server()), environment)).rejects.toMatchObject({
        code: 'DB_CONNECT',
      });
    }
  });
});
