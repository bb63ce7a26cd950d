import { knowsRestrict } from '../backup/preflight.ts';
import { ENV } from '../names.ts';
import { LifeboatError } from '../errors.ts';
import { formatBytes } from '../quantities.ts';
import { majorOf } from '../server-version.ts';
import type { BackupFacts } from './backup-facts.ts';
import { splitSetting } from './database-statements.ts';
import type { DiskNeed, RestoreNeeds, RestoreTools, ServerFacts, TargetFacts } from './preflight-facts.ts';
import { nameList, refuse } from './preflight-refusal.ts';
import { targetProblems, targetWarnings } from './preflight-target.ts';

export interface PreflightInput {
  readonly backup: BackupFacts;
  readonly target: string;
  readonly server: ServerFacts;
  readonly targetFacts: TargetFacts | undefined;
  readonly tools: RestoreTools | undefined;
  /** Roles that --globals will create. */
  readonly rolesToCome: readonly string[];
  readonly replace: boolean;
  readonly forceOlder: boolean;
  readonly disk: DiskNeed;
}

export interface PreflightFindings {
  readonly problems: readonly LifeboatError[];
  readonly warnings: readonly string[];
}

/** What the server is to be asked before a restore can be judged. */
export function needsOf({ database, extensions, collations }: BackupFacts): RestoreNeeds {
  const locale =
    database && database.collationVersion !== null
      ? {
          provider: database.localeProvider,
          name: database.localeProvider === 'libc' ? database.collate : (database.locale ?? ''),
          version: database.collationVersion,
        }
      : undefined;
  return {
    extensions: extensions.map(({ name }) => name),
    settings: (database?.settings ?? []).flatMap(({ values }) =>
      values.map((value) => splitSetting(value).name),
    ),
    collations,
    locale,
  };
}

/** Every reason why the restore cannot start, and everything that the operator should know; nothing was touched. */
export function checkRestore(input: PreflightInput): PreflightFindings {
  return {
    problems: [
      ...serverProblems(input),
      ...clientProblems(input),
      ...roleProblems(input),
      ...extensionProblems(input),
      ...targetProblems(input),
      ...diskProblems(input),
    ],
    warnings: [...input.backup.warnings, ...serverWarnings(input), ...targetWarnings(input)],
  };
}

function serverProblems({ backup, server, forceOlder }: PreflightInput): LifeboatError[] {
  const problems: LifeboatError[] = [];
  if (server.standby) {
    problems.push(
      refuse('The server is a standby: it takes no writes', `Point ${ENV.dbHost} at the primary.`),
    );
  }
  if (!server.superuser && !server.mayCreateDatabases) {
    const message = `${JSON.stringify(server.user)} may not create databases; a restore works in a database beside the target`;
    const hint = `As a superuser: ALTER ROLE ${server.user} CREATEDB; or set ${ENV.dbUser} to another role.`;
    problems.push(new LifeboatError('DB_RIGHTS', message, { hint }));
  }
  const source = backup.serverVersion;
  if (source !== undefined && majorOf(source) > majorOf(server.versionNumber) && !forceOlder) {
    const message = `The backup is of PostgreSQL ${majorOf(source)}, the server is ${server.version}: an older server may not know what a newer one dumped`;
    problems.push(
      refuse(message, 'Restore to a server of that version or newer, or try with --force-older.'),
    );
  }
  return problems;
}

function clientProblems({ backup, tools, server }: PreflightInput): LifeboatError[] {
  if (!tools) return [];
  const problems: LifeboatError[] = [];
  const { psql, pgRestore } = tools;
  if (backup.restricted && backup.format === 'plain' && !knowsRestrict(psql.versionNumber)) {
    problems.push(
      tooOld(
        `${psql.path} is ${psql.version}; the dump begins with \\restrict, which psql knows from 13.22, 14.19, 15.14, 16.10, 17.6 and 18 on`,
        server,
      ),
    );
  }
  const dumped = backup.pgDumpVersion;
  const reader = backup.format === 'custom' ? pgRestore : undefined;
  if (dumped !== undefined && reader && majorOf(reader.versionNumber) < majorOf(dumped)) {
    problems.push(
      tooOld(
        `${reader.path} is ${reader.version}; the archive was made by pg_dump ${majorOf(dumped)}`,
        server,
        dumped,
      ),
    );
  }
  return problems;
}

function tooOld(message: string, server: ServerFacts, dumped = server.versionNumber): LifeboatError {
  const major = Math.max(majorOf(server.versionNumber), majorOf(dumped));
  const hint = `Install a current client: sudo apt-get install postgresql-client-${major}, or point ${ENV.pgBinDir} at one.`;
  return new LifeboatError('CLIENT_TOO_OLD', message, { hint });
}

function roleProblems({ backup, server, rolesToCome }: PreflightInput): LifeboatError[] {
  const here = new Set([...server.roles, ...rolesToCome]);
  const missing = backup.roles.filter((role) => !here.has(role));
  const problems: LifeboatError[] = [];
  if (missing.length > 0) {
    const message = `Roles that own or may use the backup’s objects are missing: ${nameList(missing)}`;
    const hint = 'Add --globals to restore the roles too, or create them: CREATE ROLE …';
    problems.push(refuse(message, hint));
  }
  const members = new Set(server.memberOf);
  const foreign = server.superuser
    ? []
    : backup.owners.filter((role) => here.has(role) && !members.has(role));
  if (foreign.length > 0) {
    const message = `${JSON.stringify(server.user)} is no superuser and no member of ${nameList(foreign)}, so it cannot give objects to them`;
    problems.push(
      new LifeboatError('DB_RIGHTS', message, {
        hint: `Restore as a superuser, or GRANT those roles to ${server.user}, which must have INHERIT.`,
      }),
    );
  }
  return problems;
}

function extensionProblems({ backup, server }: PreflightInput): LifeboatError[] {
  const available = new Map(server.extensions.map((extension) => [extension.name, extension]));
  const missing = backup.extensions.filter(({ name }) => !available.has(name));
  const problems: LifeboatError[] = [];
  if (missing.length > 0) {
    const names = nameList(missing.map(({ name, version }) => (version ? `${name} ${version}` : name)));
    const hint = `Install their packages on the database host, as in: sudo apt-get install postgresql-${majorOf(server.versionNumber)}-<extension>`;
    problems.push(refuse(`Extensions that the backup uses are not installed on the server: ${names}`, hint));
  }
  const denied = backup.extensions.filter(({ name }) => available.get(name)?.permitted === false);
  if (denied.length > 0) {
    const message = `${JSON.stringify(server.user)} may not create these extensions: ${nameList(denied.map(({ name }) => name))}`;
    problems.push(new LifeboatError('DB_RIGHTS', message, { hint: 'Restore as a superuser.' }));
  }
  return problems;
}

function diskProblems({ disk }: PreflightInput): LifeboatError[] {
  if (disk.needed <= disk.free) return [];
  const message = `${disk.folder} has ${formatBytes(disk.free)} free; the restore needs ${formatBytes(disk.needed)} there for a while`;
  return [new LifeboatError('DISK_FULL', message)];
}

function serverWarnings({ backup, server, target, rolesToCome }: PreflightInput): string[] {
  const warnings: string[] = [];
  for (const { name, recorded, here } of server.changedCollations) {
    warnings.push(
      `Collation ${name} was version ${recorded} at the backup and is ${here} here: texts may sort differently. Indexes are built anew and are right; look at range partitions by text.`,
    );
  }
  const available = new Map(server.extensions.map(({ name, version }) => [name, version]));
  for (const { name, version } of backup.extensions) {
    const here = available.get(name);
    if (version !== undefined && here !== undefined && here !== version) {
      warnings.push(`Extension ${name} was version ${version} at the backup; ${here} is installed here.`);
    }
  }
  for (const name of server.unknownSettings) {
    warnings.push(
      `The setting ${name} of the database is not known to PostgreSQL ${server.version}: left out.`,
    );
  }
  const { database } = backup;
  if (!database) return warnings;
  if (database.tablespace !== 'pg_default' && !server.tablespaces.includes(database.tablespace)) {
    warnings.push(
      `The tablespace ${database.tablespace} of the database is missing here: the server’s default is used.`,
    );
  }
  if (
    database.name !== target &&
    (server.roles.includes(database.owner) || rolesToCome.includes(database.owner))
  ) {
    warnings.push(
      `${target} gets the owner (${database.owner}), grants and settings that ${database.name} had.`,
    );
  }
  return warnings;
}
