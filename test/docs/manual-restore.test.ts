import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadProduction, PRODUCTION } from '../../scripts/demo/database.ts';
import type { Manifest } from '../../lib/domain/backup/manifest.ts';
import { runAgent, type AgentEnd } from '../integration/agent-process.ts';
import { startPostgres, usePostgres, type PostgresServer } from '../postgres-server.ts';
import { readDocument, runnableBlocks } from './markdown.ts';

/** The commands of docs/runbook.md, word for word but for names and folders, on backups that the agent made. */

const BLOCKS = runnableBlocks(readDocument('docs/runbook.md'));
const SCALE = 0.02;
const ID_IN_DOCUMENT = 'hostmaster_db_20260117_020000';
const BEFORE_IN_DOCUMENT = 'hostmaster_prod_before_20260117091500';

const source = usePostgres({ settings: { fsync: 'off' } });
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-runbook-'));
  await loadProduction(source(), SCALE);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Made {
  readonly dir: string;
  readonly manifest: Manifest;
}

async function agent(args: readonly string[], env: Record<string, string>): Promise<AgentEnd> {
  const end = await runAgent(args, { env: { ...source().env, DB_NAME: PRODUCTION, ...env } });
  if (end.status !== 0) throw new Error(end.printed);
  return end;
}

async function makeBackup(format: string, compression: string): Promise<Made> {
  const dir = path.join(folder, `${format}-${compression}`);
  await agent(['backup'], { BACKUP_DIR: dir, BACKUP_FORMAT: format, BACKUP_COMPRESSION: compression });
  const name = readdirSync(dir).find((file) => file.endsWith('.manifest.json'))!;
  return { dir, manifest: JSON.parse(readFileSync(path.join(dir, name), 'utf8')) as Manifest };
}

interface Run {
  readonly server: PostgresServer;
  /** What stands in the document, and what takes its place here. */
  readonly replaced?: Readonly<Record<string, string>>;
}

/** Runs blocks of the runbook in one bash, one after the other. */
function runBlocks(
  names: readonly string[],
  { server, replaced = {} }: Run,
): { stdout: string; stderr: string } {
  let script = names.map((name) => BLOCKS.get(name) ?? `echo "no block: ${name}" >&2; exit 1`).join('\n');
  for (const [from, to] of Object.entries(replaced)) script = script.replaceAll(from, to);
  // bash takes a socket as its input, which Node gives it, for a remote shell, and would read ~/.bashrc.
  const end = spawnSync('bash', ['--norc', '-c', script], {
    encoding: 'utf8',
    env: {
      PATH: `${server.binDir}${path.delimiter}${process.env['PATH'] ?? ''}`,
      PGHOST: server.host,
      PGPORT: String(server.port),
      PGUSER: server.superuser,
      PGPASSWORD: server.password,
    },
  });
  if (end.status !== 0)
    throw new Error(`bash ended with ${end.status}:\n${end.stdout}${end.stderr}\n${script}`);
  return { stdout: end.stdout, stderr: end.stderr };
}

function manual(
  server: PostgresServer,
  { dir, manifest }: Made,
): (blocks: readonly string[]) => ReturnType<typeof runBlocks> {
  const replaced = { [ID_IN_DOCUMENT]: manifest.id, '/var/backups/hostmaster': dir };
  return (blocks) => runBlocks(blocks, { server, replaced });
}

/** Rows of every table as the server counts them, without the runbook's own commands. */
async function countRows(server: PostgresServer, manifest: Manifest): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { schema, name } of manifest.tables) {
    const table = [schema, name].map((part) => `"${part.replaceAll('"', '""')}"`).join('.');
    counts[`${schema}.${name}`] = Number(await server.psql(PRODUCTION, `SELECT count(*) FROM ONLY ${table}`));
  }
  return counts;
}

const EXPECTED = ({ tables }: Manifest): Record<string, number> =>
  Object.fromEntries(tables.map(({ schema, name, rows }) => [`${schema}.${name}`, rows]));

/** Everything about the database itself, as the server tells it. */
const DATABASE_ITSELF = `
  SELECT jsonb_pretty(jsonb_build_object(
    'owner', pg_get_userbyid(datdba), 'encoding', encoding, 'collate', datcollate, 'ctype', datctype, 'limit', datconnlimit,
    'comment', shobj_description(d.oid, 'pg_database'),
    'grants', (SELECT jsonb_agg(format('%s %s %s', grantee::regrole, privilege_type, is_grantable) ORDER BY 1)
                 FROM (SELECT (aclexplode(datacl)).*) a),
    'settings', (SELECT jsonb_agg(format('%s %s', setrole::regrole, setconfig) ORDER BY setrole::regrole::text)
                   FROM pg_db_role_setting WHERE setdatabase = d.oid)))
    FROM pg_database d WHERE datname = '${PRODUCTION}'`;

const KINDS = [
  ['plain', 'gzip'],
  ['plain', 'zstd'],
  ['custom', 'gzip'],
  ['custom', 'zstd'],
] as const;

describe('The runbook’s commands without Lifeboat, on a server that has nothing', () => {
  it.each(KINDS)(
    'give the database of a %s %s backup back, with its roles, properties and every row',
    async (format, compression) => {
      const made = await makeBackup(format, compression);
      const server = await startPostgres({ settings: { fsync: 'off' } });
      try {
        const run = manual(server, made);
        const steps = ['check', 'roles', 'create', `load ${format} ${compression}`, 'properties', 'rows'];
        const { stdout, stderr } = run(steps);
        // sha256sum's two verdicts, and no table whose count differs.
        expect(stdout).toBe(`${made.manifest.dump.key}: OK\n${made.manifest.globals.key}: OK\n`);
        expect(stderr).toBe('');
        expect(await countRows(server, made.manifest)).toEqual(EXPECTED(made.manifest));
        expect(await server.psql('postgres', DATABASE_ITSELF)).toBe(
          await source().psql('postgres', DATABASE_ITSELF),
        );
      } finally {
        await server.remove();
      }
    },
  );

  it('load a plain dump without the lines that an older psql does not know, and tell a row that is missing', async () => {
    const made = await makeBackup('plain', 'gzip');
    const server = await startPostgres({ settings: { fsync: 'off' } });
    try {
      const run = manual(server, made);
      run(['check', 'roles', 'create', 'load with an older psql']);
      expect(await countRows(server, made.manifest)).toEqual(EXPECTED(made.manifest));
      await server.psql(
        PRODUCTION,
        'DELETE FROM billing.invoices WHERE ctid = (SELECT ctid FROM billing.invoices LIMIT 1)',
      );
      const rows = EXPECTED(made.manifest)['billing.invoices']!;
      expect(run(['check', 'rows']).stdout).toContain(`\nbilling.invoices|${rows}|${rows - 1}\n`);
    } finally {
      await server.remove();
    }
  });
});

describe('The runbook’s other commands', () => {
  it('bring a dropped table back from a copy beside production', async () => {
    const { dir, manifest } = await makeBackup('plain', 'zstd');
    await agent(['restore', 'latest', '--to-database', 'hostmaster_staging'], { BACKUP_DIR: dir });
    await source().psql(PRODUCTION, 'DROP TABLE servers CASCADE');
    runBlocks(['one-table'], { server: source() });
    expect(await countRows(source(), manifest)).toEqual(EXPECTED(manifest));
  });

  it('undo a restore: the database that was kept is production again, untouched', async () => {
    const { dir } = await makeBackup('custom', 'zstd');
    await source().psql(PRODUCTION, 'CREATE TABLE made_since (id int); INSERT INTO made_since VALUES (1)');
    const end = await agent(['restore', 'latest', '--replace', '--json'], { BACKUP_DIR: dir });
    const { keptAs } = end.json() as { keptAs: string };
    const tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'made_since'";
    expect(await source().psql(PRODUCTION, tables)).toBe('0');
    const itself = await source().psql('postgres', DATABASE_ITSELF);
    runBlocks(['undo'], { server: source(), replaced: { [BEFORE_IN_DOCUMENT]: keptAs } });
    expect(await source().psql(PRODUCTION, 'SELECT id FROM made_since')).toBe('1');
    expect(await source().psql('postgres', DATABASE_ITSELF)).toBe(itself);
  });

  it('all stand in blocks that a test runs', () => {
    const run = [
      'check',
      'roles',
      'create',
      'properties',
      'rows',
      'one-table',
      'undo',
      'load with an older psql',
    ];
    const loads = KINDS.map(([format, compression]) => `load ${format} ${compression}`);
    // Those of a recovery have test files of their own: manual-recovery, and recovery-increments.
    const blocks = [...BLOCKS.keys()].filter((name) => !/^(?:recovery .*|combine)$/.test(name));
    expect(blocks.toSorted()).toEqual([...run, ...loads].toSorted());
  });
});
