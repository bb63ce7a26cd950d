import {
  factsOfInspection,
  factsOfManifest,
  parseVersion,
} from '../../../lib/domain/restore/backup-facts.ts';
import type { ServerFacts, TargetFacts } from '../../../lib/domain/restore/preflight-facts.ts';
import { checkRestore, needsOf, type PreflightInput } from '../../../lib/domain/restore/preflight.ts';
import { sampleManifest } from './sample-manifest.ts';

const SERVER: ServerFacts = {
  version: '15.18',
  versionNumber: 150_018,
  user: 'admin',
  superuser: true,
  mayCreateDatabases: true,
  standby: false,
  databases: ['postgres'],
  roles: ['admin', 'app'],
  memberOf: ['admin', 'app'],
  tablespaces: ['pg_default'],
  extensions: [{ name: 'hstore', version: '1.8', permitted: true }],
  unknownSettings: [],
  changedCollations: [],
};
const TARGET: TargetFacts = {
  owner: 'app',
  database: { ...sampleManifest().database, name: 'target', comment: 'its own' },
  contents: undefined,
  publicGrants: [],
  mayRename: true,
  sessions: 0,
  preparedTransactions: [],
  slots: [],
  subscriptions: [],
};
const PSQL = { path: '/usr/bin/psql', version: '15.18', versionNumber: 150_018 };

function input(changes: Partial<PreflightInput> = {}): PreflightInput {
  return {
    backup: factsOfManifest(sampleManifest()),
    target: 'shop',
    server: SERVER,
    targetFacts: undefined,
    tools: { psql: PSQL, pgRestore: undefined },
    rolesToCome: [],
    replace: false,
    forceOlder: false,
    disk: { folder: '/b', needed: 0, free: 1 },
    ...changes,
  };
}

function problems(changes: Partial<PreflightInput>): string[] {
  return checkRestore(input(changes)).problems.map(({ code, message }) => `${code}: ${message}`);
}

describe('checkRestore', () => {
  it('has nothing against a good backup and an empty place', () => {
    expect(checkRestore(input())).toEqual({ problems: [], warnings: [] });
    expect(problems({ targetFacts: TARGET })).toEqual([]);
  });

  it('tells every problem at once', () => {
    const found = problems({
      server: {
        ...SERVER,
        versionNumber: 140_000,
        version: '14.0',
        superuser: false,
        mayCreateDatabases: false,
        roles: [],
        extensions: [],
      },
      targetFacts: {
        ...TARGET,
        contents: '3 tables',
        mayRename: false,
        preparedTransactions: ['tx'],
        subscriptions: ['sub'],
      },
      disk: { folder: '/b', needed: 10, free: 1 },
    });
    expect(found).toHaveLength(9);
  });

  it('refuses a target that holds data, unless it is to be replaced', () => {
    const targetFacts = { ...TARGET, contents: '3 tables' };
    expect(problems({ targetFacts })).toEqual(['TARGET_NOT_EMPTY: The database "shop" holds data: 3 tables']);
    expect(problems({ targetFacts, replace: true })).toEqual([]);
  });

  it('names the roles that are missing, but not those that --globals brings', () => {
    const server = { ...SERVER, roles: ['admin'] };
    expect(problems({ server })).toEqual([
      'RESTORE_REFUSED: Roles that own or may use the backup’s objects are missing: app',
    ]);
    expect(problems({ server, rolesToCome: ['app'] })).toEqual([]);
  });

  it('names the extensions that are missing or not permitted, and warns of other versions', () => {
    expect(problems({ server: { ...SERVER, extensions: [] } })[0]).toMatch(
      /not installed on the server: hstore 1\.8$/,
    );
    const denied = { ...SERVER, extensions: [{ name: 'hstore', version: '1.8', permitted: false }] };
    expect(problems({ server: denied })[0]).toMatch(
      /^DB_RIGHTS: "admin" may not create these extensions: hstore$/,
    );
    const other = { ...SERVER, extensions: [{ name: 'hstore', version: '1.4', permitted: true }] };
    expect(checkRestore(input({ server: other })).warnings).toEqual([
      'Extension hstore was version 1.8 at the backup; 1.4 is installed here.',
    ]);
  });

  it('refuses a server older than the source, unless told otherwise', () => {
    const server = { ...SERVER, versionNumber: 140_023, version: '14.23' };
    expect(problems({ server })).toEqual([
      'RESTORE_REFUSED: The backup is of PostgreSQL 15, the server is 14.23: an older server may not know what a newer one dumped',
    ]);
    expect(problems({ server, forceOlder: true })).toEqual([]);
    expect(problems({ server: { ...SERVER, versionNumber: 180_000 } })).toEqual([]);
  });

  it('refuses prepared transactions, readers of logical slots, subscriptions and standbys by name', () => {
    expect(problems({ targetFacts: { ...TARGET, preparedTransactions: ['tx-7'] } })[0]).toContain('tx-7');
    const slots = [
      { name: 'busy_slot', active: true },
      { name: 'idle_slot', active: false },
    ];
    expect(problems({ targetFacts: { ...TARGET, slots } })[0]).toContain('busy_slot');
    expect(checkRestore(input({ targetFacts: { ...TARGET, slots } })).warnings[0]).toContain('idle_slot');
    expect(problems({ targetFacts: { ...TARGET, subscriptions: ['sub_a'] } })[0]).toContain('sub_a');
    expect(problems({ server: { ...SERVER, standby: true } })[0]).toContain('standby');
  });

  it('refuses a psql that does not know \\restrict, only where the dump has it', () => {
    const old = { psql: { ...PSQL, version: '15.13', versionNumber: 150_013 }, pgRestore: undefined };
    expect(problems({ tools: old })).toEqual([]);
    const restricted = factsOfManifest(sampleManifest({ psqlNeeded: '15.14' }));
    expect(problems({ tools: old, backup: restricted })[0]).toMatch(
      /^CLIENT_TOO_OLD: .*psql is 15\.13; the dump begins with \\restrict/,
    );
  });

  it('refuses a pg_restore older than the archive', () => {
    const backup = {
      ...factsOfManifest(sampleManifest()),
      format: 'custom' as const,
      pgDumpVersion: 170_000,
    };
    const tools = { psql: PSQL, pgRestore: { ...PSQL, path: '/usr/bin/pg_restore' } };
    expect(problems({ backup, tools })[0]).toMatch(
      /pg_restore is 15\.18; the archive was made by pg_dump 17/,
    );
  });

  it('refuses when the disk would fill up, with both numbers', () => {
    expect(problems({ disk: { folder: '/b', needed: 3_000_000, free: 2_000_000 } })).toEqual([
      'DISK_FULL: /b has 2.0M free; the restore needs 2.9M there for a while',
    ]);
  });

  it('asks of a role that is no superuser only what it needs', () => {
    const server = { ...SERVER, superuser: false };
    expect(problems({ server })).toEqual([]);
    expect(problems({ server: { ...server, memberOf: ['admin'] } })[0]).toMatch(
      /^DB_RIGHTS: .*no member of app/,
    );
    expect(problems({ targetFacts: { ...TARGET, mayRename: false } })[0]).toContain('may not rename "shop"');
  });

  it('warns of changed collations, unknown settings and missing tablespaces', () => {
    const server: ServerFacts = {
      ...SERVER,
      changedCollations: [{ name: 'en_US', recorded: '2.31', here: '2.36' }],
      unknownSettings: ['old_setting'],
    };
    const backup = factsOfManifest(sampleManifest({ tablespace: 'fast' }));
    const { warnings } = checkRestore(input({ server, backup, target: 'staging' }));
    expect(warnings.join('\n')).toMatch(/en_US was version 2\.31 at the backup and is 2\.36 here/);
    expect(warnings.join('\n')).toMatch(/old_setting of the database is not known to PostgreSQL 15\.18/);
    expect(warnings.join('\n')).toMatch(/tablespace fast of the database is missing/);
    expect(warnings.join('\n')).toMatch(/staging gets the owner \(app\), grants and settings that shop had/);
  });

  it('warns of what cannot be checked without a manifest', () => {
    const backup = factsOfInspection('old.sql.gz', {
      format: 'plain',
      compression: 'gzip',
      rawSize: 10,
      serverVersion: '14.11 (Debian 14.11-1)',
      pgDumpVersion: '14.11',
      restricted: false,
      owners: ['gone'],
      extensions: ['postgis'],
      tables: [{ schema: 'public', name: 't', rows: 3 }],
    });
    const found = checkRestore(input({ backup }));
    expect(found.warnings[0]).toMatch(/old\.sql\.gz has no manifest: its SHA-256 .* could not be checked/);
    expect(found.problems.map(({ message }) => message).join('\n')).toMatch(/are missing: gone\n.*postgis/);
  });
});

it('asks the server for what the backup needs', () => {
  expect(needsOf(factsOfManifest(sampleManifest()))).toEqual({
    extensions: ['hstore'],
    settings: ['search_path', 'work_mem'],
    collations: [],
    locale: { provider: 'libc', name: 'C.UTF-8', version: '2.36' },
  });
});

it('reads versions as PostgreSQL counts them', () => {
  expect(parseVersion('15.18 (Debian 15.18-0+deb12u1)')).toBe(150_018);
  expect(parseVersion('18beta1')).toBe(180_000);
  expect(parseVersion('unknown')).toBeUndefined();
});
