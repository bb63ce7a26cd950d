import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { PostgresServer } from '../../../postgres-server.ts';
import { randomNumbers } from '../wal/wal-fixture.ts';

/** A folder of the test file's own, removed after its last test. */
export function useFolder(): (...below: string[]) => string {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-tar-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return (...below) => path.join(folder, ...below);
}

export function run(program: string, args: readonly string[], cwd?: string): Buffer {
  return execFileSync(program, args, {
    cwd,
    maxBuffer: 1024 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Exit status and everything printed, in English. */
export function attempt(program: string, args: readonly string[]): { status: number | null; output: string } {
  const env = { ...process.env, LC_ALL: 'C' };
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', env });
  return { status, output: stdout + stderr };
}

/** What differs between two folders in content, type or link target; empty when nothing does. */
export function difference(a: string, b: string): string {
  return attempt('diff', ['--recursive', '--no-dereference', a, b]).output;
}

export function listTar(file: string): string[] {
  return run('tar', ['--list', '--file', file]).toString().trim().split('\n');
}

/** GNU tar unpacks `file` below `folder`, which it makes. */
export function unpackTar(file: string, folder: string): void {
  mkdirSync(folder, { recursive: true });
  run('tar', ['--extract', '--file', file, '--directory', folder]);
}

/** Cuts `bytes` into pieces of random sizes up to `largest`. */
export function* piecesOf(bytes: Buffer, largest: number, seed: number): Generator<Buffer> {
  const random = randomNumbers(seed);
  for (let at = 0; at < bytes.length;) {
    const next = Math.min(bytes.length, at + 1 + random(largest));
    yield bytes.subarray(at, next);
    at = next;
  }
}

/** Runs one of PostgreSQL's programs against the server, with its password. */
export function runClient(server: PostgresServer, program: string, args: readonly string[]): void {
  execFileSync(path.join(server.binDir, program), args, {
    env: {
      PATH: process.env['PATH'],
      PGHOST: server.host,
      PGPORT: String(server.port),
      PGUSER: server.superuser,
      PGPASSWORD: server.password,
    },
    stdio: 'pipe',
  });
}

/** Tables with contents of their own, indexes, a large object, and an unlogged table. */
export const CONTENTS = `
  CREATE TABLE items AS SELECT i AS id, md5(i::text) || repeat(md5((i * 7)::text), i % 20) AS body
    FROM generate_series(1, 40000) AS i;
  CREATE INDEX ON items (body);
  CREATE UNLOGGED TABLE scratch AS SELECT generate_series(1, 1000) AS id;
  SELECT lo_from_bytea(0, decode(repeat('00ff10', 20000), 'hex'));
  VACUUM ANALYZE;
`;
