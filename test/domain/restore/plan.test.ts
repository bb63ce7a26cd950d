import { factsOfInspection, factsOfManifest } from '../../../lib/domain/restore/backup-facts.ts';
import { estimateRestore, updateRates } from '../../../lib/domain/restore/estimate.ts';
import { planRestore, planSteps, type PlanInput } from '../../../lib/domain/restore/plan.ts';
import type { TargetFacts } from '../../../lib/domain/restore/preflight-facts.ts';
import { compareRows, type FoundRows } from '../../../lib/domain/restore/row-counts.ts';
import { sampleManifest } from './sample-manifest.ts';

const TARGET: TargetFacts = {
  owner: 'app',
  database: { ...sampleManifest().database, name: 'target', comment: 'its own' },
  contents: '3 tables',
  publicGrants: [],
  mayRename: true,
  sessions: 2,
  preparedTransactions: [],
  slots: [],
  subscriptions: [],
};

function input(changes: Partial<PlanInput> = {}): PlanInput {
  return {
    target: 'shop',
    backup: factsOfManifest(sampleManifest()),
    copies: [{ where: 's3', url: 's3://b/database/x.sql.gz', size: 3_000_000 }],
    names: { restoring: 'shop_restoring_20260118100000', before: 'shop_before_20260118100000' },
    server: {
      version: '15.18',
      versionNumber: 150_018,
      user: 'admin',
      superuser: true,
      mayCreateDatabases: true,
      standby: false,
      databases: [],
      roles: [],
      memberOf: [],
      tablespaces: ['pg_default'],
      extensions: [],
      unknownSettings: [],
      changedCollations: [],
    },
    targetFacts: TARGET,
    leftovers: ['shop_restoring_20260101000000'],
    globals: undefined,
    jobs: 2,
    runId: 'run-9',
    disk: { folder: '/b', needed: 3_000_000, free: 10_000_000 },
    estimate: { downloadMs: 1, restoreMs: 2, measured: false },
    warnings: [],
    ...changes,
  };
}

describe('planRestore', () => {
  it('replaces a database that holds data, step by step, in the very statements that will run', () => {
    const plan = planRestore(input());
    expect(plan.action).toBe('replace');
    expect(planSteps(plan)).toEqual([
      'Remove what a killed restore left: DROP DATABASE "shop_restoring_20260101000000"',
      'Download s3://b/database/x.sql.gz (2.9M) and check its size and SHA-256',
      `CREATE DATABASE "shop_restoring_20260118100000" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' LOCALE_PROVIDER libc`,
      'ALTER DATABASE "shop_restoring_20260118100000" OWNER TO "app"',
      'Restore 20M of SQL into "shop_restoring_20260118100000" with psql',
      'Count the rows of 3 tables and compare them with the backup’s',
      `ALTER DATABASE "shop_restoring_20260118100000" SET "search_path" TO 'public'`,
      `ALTER DATABASE "shop_restoring_20260118100000" SET "work_mem" TO '64MB'`,
      `BEGIN; ALTER DATABASE "shop" RENAME TO "shop_before_20260118100000"; ALTER DATABASE "shop_restoring_20260118100000" RENAME TO "shop"; COMMENT ON DATABASE "shop" IS 'the shop'; COMMIT`,
    ]);
  });

  it('drops an empty database that is in the way, and renames nothing where there is none', () => {
    const fill = planRestore(input({ targetFacts: { ...TARGET, contents: undefined } }));
    expect(fill.action).toBe('fill');
    expect(planSteps(fill).at(-1)).toBe('DROP DATABASE "shop_before_20260118100000", if it is still empty');
    expect(fill.statements.publicGrants).toEqual([]);
    const create = planRestore(input({ targetFacts: undefined }));
    expect(create).toMatchObject({ action: 'create', keptAs: undefined });
    expect(create.statements.swap[0]).toBe('ALTER DATABASE "shop_restoring_20260118100000" RENAME TO "shop"');
  });

  it('grants again what was granted on the schema public of an empty database', () => {
    const publicGrants = [
      { grantee: 'staging "app"', privilege: 'CREATE', grantable: false },
      { grantee: null, privilege: 'USAGE', grantable: true },
    ] as const;
    const fill = planRestore(input({ targetFacts: { ...TARGET, contents: undefined, publicGrants } }));
    expect(planSteps(fill).slice(-4, -2)).toEqual([
      'GRANT CREATE ON SCHEMA public TO "staging ""app"""',
      'GRANT USAGE ON SCHEMA public TO PUBLIC WITH GRANT OPTION',
    ]);
  });

  it('downloads nothing when a copy lies here', () => {
    const local = { where: 'local', url: '/b/x.sql.gz', size: 3_000_000 } as const;
    const plan = planRestore(input({ copies: [local, ...input().copies] }));
    expect(plan.fetchBytes).toBe(0);
    expect(planSteps(plan)[1]).toBe('Check /b/x.sql.gz (2.9M)');
  });

  it('tells of roles by name, never of their statements, which hold password verifiers', () => {
    const globals = {
      statements: ["ALTER ROLE a PASSWORD 'SCRAM-SHA-256$secret'"],
      created: ['a'],
      leftAlone: ['b'],
      missingTablespaces: ['fast'],
    };
    const plan = planRestore(input({ globals }));
    expect(JSON.stringify(plan)).not.toContain('secret');
    expect(planSteps(plan)).toContain('Create the roles a');
    expect(plan.warnings).toEqual([
      'Roles that exist already were left as they are, passwords included: b.',
      'Tablespaces are folders of the host and are not restored; missing here: fast.',
    ]);
  });
});

describe('estimates', () => {
  it('rest on usual rates until something was measured here', () => {
    expect(estimateRestore(17_000_000, 40_000_000, 'plain', undefined)).toEqual({
      downloadMs: 1000,
      restoreMs: 1000,
      measured: false,
    });
    expect(estimateRestore(0, 100, 'custom', { custom: 100 })).toEqual({
      downloadMs: 0,
      restoreMs: 1000,
      measured: true,
    });
  });

  it('follow what restores measure, the newest most', () => {
    const first = updateRates(undefined, [{ rate: 'plain', bytes: 10_000_000, milliseconds: 1000 }]);
    expect(first.plain).toBe(10_000_000);
    const second = updateRates(first, [{ rate: 'plain', bytes: 20_000_000, milliseconds: 1000 }]);
    expect(second.plain).toBe(16_000_000);
  });

  it('learn nothing from a restore too small to tell', () => {
    expect(updateRates(undefined, [{ rate: 'plain', bytes: 10, milliseconds: 1000 }]).plain).toBeUndefined();
  });
});

describe('compareRows', () => {
  /** The third table is an extension's. */
  const found = (...rows: (number | undefined)[]): FoundRows['tables'] =>
    rows.map((number, index) =>
      number === undefined ? undefined : { rows: number, ofExtension: index === 2 },
    );
  const backup = factsOfManifest(sampleManifest());
  const right: FoundRows = {
    tables: found(100, 2345, 500),
    materializedViews: [{ schema: 'public', name: 'totals', populated: true }],
    largeObjects: 2,
  };

  it('is content when every number is right; an extension may have added rows of its own', () => {
    expect(compareRows(backup, right, 'shop')).toEqual({ tables: 3, rows: 2446 });
  });

  it.each<[string, Partial<FoundRows>, RegExp]>([
    [
      'a row is missing',
      { tables: found(99, 2345, 500) },
      /public\.users: 100 rows in the backup, 99 restored/,
    ],
    [
      'a row is too many',
      { tables: found(101, 2345, 500) },
      /public\.users: 100 rows in the backup, 101 restored/,
    ],
    [
      'a table is missing',
      { tables: found(100, undefined, 500) },
      /events_2026: 2345 rows in the backup, no such table/,
    ],
    ['an extension’s table lost the user’s rows', { tables: found(100, 2345, 0) }, /spatial_ref_sys: 1 rows/],
    ['a large object is missing', { largeObjects: 1 }, /large objects: 2 in the backup, 1 restored/],
    [
      'a materialized view is missing',
      { materializedViews: [] },
      /materialized view public\.totals is missing/,
    ],
    [
      'a materialized view is empty',
      { materializedViews: [{ schema: 'public', name: 'totals', populated: false }] },
      /public\.totals was not filled/,
    ],
  ])('fails when %s', (_, change, message) => {
    expect(() => compareRows(backup, { ...right, ...change }, 'shop')).toThrow(message);
  });

  it('does not send to another backup for a dump that has no manifest to be wrong by', () => {
    const inspection = factsOfInspection('old.sql', {
      format: 'plain',
      compression: 'none',
      rawSize: 1,
      serverVersion: undefined,
      pgDumpVersion: undefined,
      restricted: false,
      owners: [],
      extensions: [],
      tables: [{ schema: 'public', name: 't', rows: 5 }],
    });
    expect(() => compareRows(inspection, { ...right, tables: found(4) }, 'shop')).toThrow(
      expect.objectContaining({
        code: 'ROWS_DIFFER',
        hint: expect.stringContaining('restore the file with psql') as string,
      }),
    );
  });
});
