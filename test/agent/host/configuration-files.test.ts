import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { configurationReader } from '../../../scripts/agent/host/configuration-files.ts';
import type { ServerConfiguration } from '../../../scripts/agent/ports/base-backup.ts';

const CLUSTER = '7300000000000000001';

describe('The configuration outside of the data directory', () => {
  let root: string;
  let data: string;
  let etc: string;
  let configuration: ServerConfiguration;

  const put = (name: string, body = `# ${name}\n`): string => {
    const file = path.join(root, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, body);
    return file;
  };

  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'lifeboat-configuration-'));
    data = path.join(root, 'var/lib/postgresql/15/main');
    etc = path.join(root, 'etc/postgresql/15/main');
    const control = Buffer.alloc(8192);
    control.writeBigUInt64LE(BigInt(CLUSTER));
    put('var/lib/postgresql/15/main/global/pg_control');
    writeFileSync(path.join(data, 'global/pg_control'), control);
    const files = ['postgresql.conf', 'pg_hba.conf', 'pg_ident.conf'].map((name) =>
      put(`etc/postgresql/15/main/${name}`),
    );
    configuration = {
      systemIdentifier: CLUSTER,
      serverAddress: undefined,
      dataDirectory: data,
      configFile: files[0],
      files: [...files, path.join(data, 'postgresql.auto.conf')],
    };
  });

  afterEach(() => rmSync(root, { recursive: true }));

  const namesOf = async (changed: Partial<ServerConfiguration> = {}) => {
    const { files, warnings } = await configurationReader.read({ ...configuration, ...changed });
    return { names: files.map((file) => path.relative(etc, file.path)).toSorted(), warnings };
  };

  it('is what the server names and what Debian keeps beside it, without keys and without what is no configuration', async () => {
    for (const name of [
      'environment',
      'pg_ctl.conf',
      'start.conf',
      'conf.d/10-memory.conf',
      'conf.d/notes.txt',
      'server.key',
      'server.crt',
    ]) {
      put(`etc/postgresql/15/main/${name}`);
    }
    expect(await namesOf()).toEqual({
      names: [
        'conf.d/10-memory.conf',
        'environment',
        'pg_ctl.conf',
        'pg_hba.conf',
        'pg_ident.conf',
        'postgresql.conf',
        'start.conf',
      ],
      warnings: [],
    });
    const { files } = await configurationReader.read(configuration);
    const hba = files.find((file) => file.path.endsWith('pg_hba.conf'))!;
    expect(hba.body.toString()).toBe('# etc/postgresql/15/main/pg_hba.conf\n');
    expect(hba.modifiedAt.getTime()).toBeGreaterThan(Date.now() - 60_000);
  });

  it('tells where the server runs, for a role that may not see its folders too', async () => {
    const remote = { ...configuration, serverAddress: '192.0.2.1' };
    expect(await configurationReader.isThisHost(configuration)).toBe(true);
    expect(await configurationReader.isThisHost(remote)).toBe(false);
    expect(await configurationReader.isThisHost({ ...remote, dataDirectory: undefined })).toBe(false);
    expect(await configurationReader.isThisHost({ ...configuration, systemIdentifier: '7' })).toBe(false);
    const hidden = { ...configuration, dataDirectory: undefined, configFile: undefined };
    expect(await configurationReader.isThisHost(hidden)).toBe(true);
  });

  it('is none where all of it lies in the data directory, whose backup holds it', async () => {
    const configFile = path.join(data, 'postgresql.conf');
    expect(await namesOf({ configFile, files: [configFile, path.join(data, 'pg_hba.conf')] })).toEqual({
      names: [],
      warnings: [],
    });
  });

  it('is taken only of this host’s own server', async () => {
    const elsewhere = {
      names: [],
      warnings: [expect.stringContaining('the server is on another host') as string],
    };
    expect((await namesOf({ serverAddress: '127.0.0.1' })).names).toHaveLength(3);
    expect(await namesOf({ serverAddress: '192.0.2.7' })).toEqual(elsewhere);
    expect(await namesOf({ systemIdentifier: '42' })).toEqual(elsewhere);
    expect(await namesOf({ dataDirectory: path.join(root, 'not-here') })).toEqual(elsewhere);
  });

  it('fails nothing: what cannot be read, or must not be stored, is said', async () => {
    const missing = path.join(etc, 'gone.conf');
    const secret = put('etc/postgresql/15/main/tls.conf', '-----BEGIN RSA PRIVATE KEY-----\nMIIE\n');
    const large = put('etc/postgresql/15/main/large.conf', 'x'.repeat(2 * 1024 * 1024));
    const { names, warnings } = await namesOf({ files: [...configuration.files, missing, secret, large] });
    expect(names).toEqual(['pg_hba.conf', 'pg_ident.conf', 'postgresql.conf']);
    expect(warnings).toEqual([
      expect.stringMatching(/gone\.conf was not stored: ENOENT/),
      expect.stringMatching(/tls\.conf was not stored: it holds a private key/),
      expect.stringMatching(/large\.conf was not stored: 2097152 bytes are no configuration/),
    ]);
    expect(warnings.join('')).not.toContain('MIIE');
  });

  it('says when the role may not see where it lies', async () => {
    const { warnings } = await namesOf({ dataDirectory: undefined, configFile: undefined, files: [] });
    expect(warnings).toEqual([expect.stringContaining('pg_read_all_settings')]);
  });

  it('goes by the address where PostgreSQL’s files are closed to this user', async () => {
    chmodSync(path.join(data, 'global'), 0o000);
    const { names } = await namesOf();
    // Nobody but root could remove what lies in it.
    chmodSync(path.join(data, 'global'), 0o700);
    expect(names).toHaveLength(3);
  });
});
