import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { installedLibraries } from '../../../scripts/agent/recovery/server-programs.ts';

describe('The libraries that a recovered server may load', () => {
  let root: string;

  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'lifeboat-programs-'));
    mkdirSync(path.join(root, 'bin'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const installed = (): Promise<string[]> => {
    const programs = { folder: path.join(root, 'bin'), versionNumber: 150_008, canCombine: false };
    return installedLibraries(programs, ['pg_stat_statements', '$libdir/auto_explain.so', 'elsewhere']);
  };

  const install = (folder: string, ...libraries: readonly string[]): void => {
    mkdirSync(path.join(root, folder), { recursive: true });
    for (const name of libraries) writeFileSync(path.join(root, folder, `${name}.so`), '');
  };

  const pgConfig = (version: string): void => {
    const script = `#!/bin/sh\n[ "$*" = '--version --pkglibdir' ] && printf '%s\\n' 'PostgreSQL ${version}' '${root}/own'\n`;
    writeFileSync(path.join(root, 'bin/pg_config'), script, { mode: 0o755 });
  };

  it.each(['lib', 'lib/postgresql', 'lib/pgsql', 'lib64', 'lib64/pgsql'])(
    'are found in %s beside the server’s folder',
    async (folder) => {
      install(folder, 'pg_stat_statements', 'auto_explain');
      expect(await installed()).toEqual(['pg_stat_statements', '$libdir/auto_explain.so']);
    },
  );

  it('are those that lie where pg_config says, and no others', async () => {
    pgConfig('15.8 (Debian 15.8-1)');
    install('lib', 'auto_explain');
    install('own', 'pg_stat_statements');
    expect(await installed()).toEqual(['pg_stat_statements']);
  });

  it('are not looked for where the pg_config of another major version says', async () => {
    pgConfig('16.2');
    install('lib64/pgsql', 'auto_explain');
    install('own', 'pg_stat_statements');
    expect(await installed()).toEqual(['$libdir/auto_explain.so']);
  });
});
