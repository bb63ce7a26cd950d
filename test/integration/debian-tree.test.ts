import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fetchDebianTree } from '../../scripts/set-up/debian-tree.ts';
import { postgres17WithTools, usePostgres } from '../postgres-server.ts';

const binDir = postgres17WithTools();

describe('PostgreSQL 17 of another Debian release', () => {
  const postgres = usePostgres({ binDir });

  it('runs beside this machine’s own, with its extensions and its collations', async () => {
    const sql = `CREATE EXTENSION pgcrypto; SELECT length(digest('x', 'sha256')), 'ä' < 'b' COLLATE "de-x-icu", current_setting('server_version_num')::int / 10000`;
    expect(await postgres().psql('postgres', sql)).toBe('32|t|17');
  });

  it('has its tools, which work wherever the tree is copied to', () => {
    const folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'lifeboat-tree-')));
    try {
      const tree = path.resolve(binDir, '../../../../..');
      cpSync(tree, path.join(folder, 'with a space'), { recursive: true, verbatimSymlinks: true });
      const copied = path.join(folder, 'with a space', path.relative(tree, binDir));
      for (const program of ['pg_combinebackup', 'pg_verifybackup', 'pgbench']) {
        const version = execFileSync(path.join(copied, program), ['--version'], { encoding: 'utf8' });
        expect(version).toMatch(new RegExp(`^${program} \\(PostgreSQL\\) 17`));
      }
      expect(execFileSync(path.join(copied, 'pg_config'), ['--bindir'], { encoding: 'utf8' }).trim()).toBe(
        copied,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('Packages of another Debian release', () => {
  it('are asked for with the mirror’s name and apt’s words when it cannot be reached, and nothing stays behind', () => {
    const cache = mkdtempSync(path.join(tmpdir(), 'lifeboat-tree-'));
    try {
      const fetching = (): string =>
        fetchDebianTree({ suite: 'trixie', packages: ['zstd'], mirror: 'http://127.0.0.1:9/debian', cache });
      expect(fetching).toThrow(
        /^zstd of Debian trixie cannot be had from http:\/\/127\.0\.0\.1:9\/debian: .*127\.0\.0\.1/s,
      );
      expect(readdirSync(cache)).toEqual([]);
    } finally {
      rmSync(cache, { recursive: true });
    }
  });
});
