import { describeHost } from '../../../scripts/agent/commands/base-backup/base-backup-manifest.ts';
import { describeBuild } from '../../../scripts/agent/postgres/server-build.ts';

describe('What a server’s program says of itself', () => {
  it.each([
    [
      'PostgreSQL 15.8 (Debian 15.8-0+deb12u1) on aarch64-unknown-linux-gnu, compiled by gcc 12.2.0, 64-bit',
      '2.36',
      { architecture: 'arm64', libc: 'glibc 2.36' },
    ],
    [
      'PostgreSQL 18.0 on x86_64-linux, compiled by gcc-14, 64-bit',
      '2.41',
      { architecture: 'x64', libc: 'glibc 2.41' },
    ],
    [
      'PostgreSQL 16.4 on x86_64-pc-linux-musl, compiled by gcc 13.2.1, 64-bit',
      null,
      { architecture: 'x64', libc: undefined },
    ],
    [
      'PostgreSQL 15.2 on amd64-portbld-freebsd13.1, compiled by clang 13.0.0, 64-bit',
      '43',
      { architecture: 'x64', libc: undefined },
    ],
    ['PostgreSQL 15.2, compiled by Visual C++ build 1914, 64-bit', null, {}],
  ])('is read from %s', (version, collations, expected) => {
    expect(describeBuild({ version, collations })).toEqual(expected);
  });

  const agent = { name: 'agent1', platform: 'linux', architecture: 'x64', libc: 'glibc 2.34' };
  const silent = { architecture: undefined, libc: undefined };

  it('stands in the manifest, whatever the host is that Lifeboat runs on', () => {
    const build = { architecture: 'arm64', libc: 'glibc 2.36' };
    for (const onThisHost of [true, false])
      expect(describeHost(agent, build, onThisHost)).toEqual({ ...agent, ...build });
  });

  it('is taken from Lifeboat’s host only where the server runs there too', () => {
    expect(describeHost(agent, silent, true)).toEqual(agent);
    expect(describeHost(agent, silent, false)).toEqual({
      ...agent,
      architecture: 'unknown',
      libc: 'unknown',
    });
  });
});
