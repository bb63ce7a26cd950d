import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { DumpFormat } from '../../../lib/domain/backup/keys.ts';
import { quoteQualified } from '../../../lib/domain/restore/sql.ts';
import type { QualifiedName } from '../../../lib/domain/restore/table-names.ts';
import type { BackupSource, DumpProcess, DumpTools, SourceFacts, SourceSnapshot } from '../ports/backup.ts';
import type { DatabaseSettings } from '../settings.ts';
import type { Environment } from '../environment.ts';
import { connect, type Connection } from './connection.ts';
import { describeSource } from './source-description.ts';
import { openDumpPipe } from './dump-pipe.ts';
import { describeVerdict, startTool } from './tool-process.ts';
import { findTool, toolEnvironment, type Tool } from './tools.ts';

/** An ALTER TABLE or VACUUM FULL that holds its lock for longer than this ends the dump with a message instead of hanging it. */
const LOCK_WAIT_MS = 10 * 60 * 1000;

/** @param tables the dump is to hold them alone, with all that is theirs; `undefined`: the whole database */
export function openBackupSource(
  settings: DatabaseSettings,
  environment: Environment,
  database: string,
  tables?: readonly QualifiedName[],
): BackupSource {
  const open = (): Promise<Connection> => connect(settings, environment, database);
  const toolEnv = toolEnvironment(settings, environment, database);
  return {
    inspect: async () => {
      const connection = await open();
      try {
        const facts = await inspect(connection);
        return tables ? { ...facts, databaseBytes: await sizeOf(connection, tables) } : facts;
      } finally {
        await connection.close();
      }
    },
    findDumpTools: async (serverMajor) => ({
      pgDump: await findTool('pg_dump', settings, environment, serverMajor),
      pgDumpall: await findTool('pg_dumpall', settings, environment, serverMajor),
    }),
    openSnapshot: async () => openSnapshot(await open(), toolEnv, tables),
    dumpGlobals: ({ pgDumpall }, { rolePasswords }) =>
      startDump(
        'pg_dumpall',
        pgDumpall,
        [
          '--globals-only',
          '--no-password',
          // Where this role may surely connect; left to itself pg_dumpall wants "postgres" or "template1".
          `--database=dbname=${quoteConnectionValue(database)}`,
          ...(rolePasswords ? [] : ['--no-role-passwords']),
        ],
        toolEnv,
      ),
  };
}

/** https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE */
function quoteConnectionValue(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

async function inspect(connection: Connection): Promise<SourceFacts> {
  const [facts] = await connection.rows<{
    version: string;
    number: number;
    standby: boolean;
    bytes: string;
    superuser: boolean;
    passwords: boolean;
    system: string;
  }>(`
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::int AS number,
           pg_is_in_recovery() AS standby,
           pg_database_size(current_database())::text AS bytes,
           r.rolsuper AS superuser,
           has_table_privilege('pg_authid', 'SELECT') AS passwords,
           (SELECT system_identifier::text FROM pg_control_system()) AS system
      FROM pg_roles r WHERE r.rolname = current_user`);
  const unreadable = await connection.rows<{ name: string }>(UNREADABLE);
  return {
    version: facts!.version.split(' ')[0]!,
    versionNumber: facts!.number,
    systemIdentifier: facts!.system,
    standby: facts!.standby,
    databaseBytes: Number(facts!.bytes),
    superuser: facts!.superuser,
    mayReadPasswords: facts!.passwords,
    unreadable: unreadable.map(({ name }) => name),
  };
}

async function sizeOf(connection: Connection, tables: readonly QualifiedName[]): Promise<number> {
  const names = tables.map(({ schema, name }) => quoteQualified(schema, name));
  const [sum] = await connection.rows<{ bytes: string }>(
    'SELECT coalesce(sum(pg_total_relation_size(name::regclass)), 0)::text AS bytes FROM unnest($1::text[]) name',
    [names],
  );
  return Number(sum!.bytes);
}

/**
 * What pg_dump would stop at halfway. It turns row security off and gives up on a table whose policies would hide rows
 * from this role (https://www.postgresql.org/docs/current/ddl-rowsecurity.html). Members of extensions are not dumped.
 */
const UNREADABLE = `
  (SELECT format('%I.%I', n.nspname, c.relname) AS name
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_depend d
                       WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
      AND (NOT has_schema_privilege(n.oid, 'USAGE')
           OR CASE c.relkind WHEN 'S' THEN NOT has_sequence_privilege(c.oid, 'SELECT')
                             ELSE NOT has_table_privilege(c.oid, 'SELECT') OR row_security_active(c.oid) END)
    ORDER BY 1 LIMIT 20)
  UNION ALL
  (SELECT 'large object ' || m.oid FROM pg_largeobject_metadata m
    WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
      AND NOT pg_has_role(m.lomowner, 'USAGE')
      AND NOT EXISTS (SELECT FROM aclexplode(m.lomacl) a
                       WHERE a.privilege_type = 'SELECT'
                         AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))
    ORDER BY m.oid LIMIT 5)`;

async function openSnapshot(
  connection: Connection,
  toolEnv: Record<string, string>,
  tables: readonly QualifiedName[] | undefined,
): Promise<SourceSnapshot> {
  try {
    await connection.rows('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    const [exported] = await connection.rows<{ id: string }>('SELECT pg_export_snapshot() AS id');
    return {
      describe: () => describeSource(connection),
      dump: ({ pgDump }: DumpTools, format: DumpFormat) =>
        startDump(
          'pg_dump',
          pgDump,
          [
            `--format=${format}`,
            ...(format === 'custom' ? ['--compress=0'] : []),
            `--snapshot=${exported!.id}`,
            `--lock-wait-timeout=${LOCK_WAIT_MS}`,
            '--no-password',
            // A pattern: within double quotes no character of it is a wildcard.
            ...(tables ?? []).map(({ schema, name }) => `--table=${quoteQualified(schema, name)}`),
          ],
          toolEnv,
        ),
      close: () => connection.close(),
    };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

async function startDump(
  name: string,
  tool: Tool,
  args: readonly string[],
  environment: Record<string, string>,
): Promise<DumpProcess> {
  const pipe = await openDumpPipe();
  const child = startTool(tool, args, environment, pipe.writeEnd);
  pipe.closeWriteEnd();
  child.input.end();
  return {
    read: (handle) => pipe.read(handle),
    kill: () => child.kill(),
    finished: async () => {
      const verdict = await child.ended;
      if (verdict.status === 0) return { warnings: verdict.stderr.trim() };
      throw new LifeboatError('DUMP_FAILED', describeVerdict(name, verdict));
    },
  };
}
