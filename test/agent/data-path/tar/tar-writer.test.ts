import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { encodeTarHeader } from '../../../../scripts/agent/data-path/tar/tar-header.ts';
import { packConfigFolder } from '../../../../scripts/agent/data-path/tar/tar-writer.ts';
import { difference, listTar, run, unpackTar, useFolder } from './tar-fixture.ts';

const PRIVATE = '-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n';
const CERTIFICATE = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';

describe('Packing a configuration folder', () => {
  const folder = useFolder();

  it('takes every file but private keys, links and what is no configuration', async () => {
    const from = folder('main');
    const deep = `conf.d/${'d'.repeat(90)}/${'e'.repeat(120)}`;
    mkdirSync(`${from}/${deep}`, { recursive: true });
    const files = {
      'postgresql.conf': 'port = 5432\n',
      'pg_hba.conf': 'local all all peer\n',
      'conf.d/10 größe.conf': 'work_mem = 64MB\n',
      [`${deep}/long.conf`]: '# deep\n',
      'empty.conf': '',
      'server.crt': CERTIFICATE,
    };
    for (const [name, content] of Object.entries(files)) writeFileSync(`${from}/${name}`, content);
    await expect(packConfigFolder(from)).resolves.toMatchObject({ leftOut: [] });
    run('cp', ['-r', from, folder('expected')]);
    writeFileSync(`${from}/server.key`, 'binary');
    writeFileSync(`${from}/both.pem`, CERTIFICATE + PRIVATE);
    writeFileSync(`${from}/core`, '');
    truncateSync(`${from}/core`, 5_000_000);
    symlinkSync('/etc/passwd', `${from}/elsewhere`);
    const { bytes, members, leftOut } = await packConfigFolder(from);
    writeFileSync(folder('config.tar'), bytes);
    expect([...members].sort()).toEqual(Object.keys(files).sort());
    expect(leftOut).toEqual([
      { name: 'both.pem', reason: 'a private key' },
      { name: 'core', reason: '5000000 bytes' },
      { name: 'elsewhere', reason: 'no file' },
      { name: 'server.key', reason: 'a private key, by its name' },
    ]);
    unpackTar(folder('config.tar'), folder('unpacked'));
    expect(difference(folder('unpacked'), folder('expected'))).toBe('');
  });

  it('says which folder it cannot read', async () => {
    await expect(packConfigFolder(folder('none'))).rejects.toThrow(`Cannot list ${folder('none')}`);
  });
});

describe('Writing tar headers', () => {
  const folder = useFolder();

  it('writes sizes of 8 GiB and more, and link targets of any length, as GNU tar reads them', () => {
    const size = 9 * 1024 ** 3;
    const big = encodeTarHeader({ name: 'big', type: 'file', size, mode: 0o600, modifiedAt: 1_700_000_000 });
    writeFileSync(folder('big.tar'), big);
    // A hole instead of the content: GNU tar seeks over it.
    truncateSync(folder('big.tar'), size + 2048);
    const listed = run('tar', ['--list', '--verbose', '--utc', '--file', folder('big.tar')]).toString();
    expect(listed).toMatch(/^-rw------- postgres\/postgres 9663676416 2023-11-14 22:13 big$/m);
    const target = 't/'.repeat(80);
    const link = {
      name: 'l'.repeat(101),
      type: 'symlink',
      linkTarget: target,
      mode: 0o777,
      modifiedAt: 0,
    } as const;
    writeFileSync(folder('link.tar'), encodeTarHeader(link));
    expect(listTar(folder('link.tar'))).toEqual([link.name]);
    expect(run('tar', ['--list', '--verbose', '--file', folder('link.tar')]).toString()).toContain(
      ` -> ${target}`,
    );
  });
});
