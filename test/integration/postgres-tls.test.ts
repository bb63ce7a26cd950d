import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '../../scripts/agent/postgres/connection.ts';
import { usePostgres } from '../postgres-server.ts';

const server = usePostgres();

/** From here on the server takes TLS and nothing else, with a certificate that no authority signed. */
beforeAll(async () => {
  const { dataDir } = server();
  const [key, certificate] = [join(dataDir, 'server.key'), join(dataDir, 'server.crt')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      ...subject,
      '-keyout',
      key,
      '-out',
      certificate,
    ],
    { stdio: 'ignore' },
  );
  const { uid, gid } = statSync(dataDir);
  for (const path of [key, certificate]) {
    chownSync(path, uid, gid);
    chmodSync(path, 0o600);
  }
  writeFileSync(
    join(dataDir, 'pg_hba.conf'),
    'local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n',
  );
  await server().psql('postgres', 'ALTER SYSTEM SET ssl = on');
  await server().restart();
});

async function encrypted(environment: Record<string, string>): Promise<boolean> {
  const { host, port, superuser: user, password } = server();
  const settings = { host, port, user, password, name: 'postgres', binDir: undefined };
  const connection = await connect(settings, environment, 'postgres');
  try {
    const [row] = await connection.rows<{ ssl: boolean }>(
      'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
    );
    return row!.ssl;
  } finally {
    await connection.close();
  }
}

describe('A server that wants TLS', () => {
  it('is reached without any setting, as libpq reaches it', async () => {
    expect(await encrypted({})).toBe(true);
    expect(await encrypted({ PGSSLMODE: 'allow' })).toBe(true);
    expect(await encrypted({ PGSSLMODE: 'require' })).toBe(true);
  });

  it('is refused when PGSSLMODE says disable', async () => {
    await expect(encrypted({ PGSSLMODE: 'disable' })).rejects.toMatchObject({ code: 'DB_CONNECT' });
  });

  it('must show a certificate of the given authority with verify-ca and verify-full', async () => {
    const root = join(server().dataDir, 'server.crt');
    for (const PGSSLMODE of ['verify-ca', 'verify-full']) {
      await expect(encrypted({ PGSSLMODE })).rejects.toMatchObject({ code: 'DB_CONNECT' });
      expect(await encrypted({ PGSSLMODE, PGSSLROOTCERT: root })).toBe(true);
    }
  });
});
