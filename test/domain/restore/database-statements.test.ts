import type { DatabaseDescription } from '../../../lib/domain/backup/manifest.ts';
import {
  commentOnDatabase,
  createDatabase,
  databaseOwner,
  databaseProperties,
} from '../../../lib/domain/restore/database-statements.ts';

const PLAIN: DatabaseDescription = {
  name: 'shop',
  owner: 'app',
  encoding: 'UTF8',
  localeProvider: 'libc',
  collate: 'en_US.UTF-8',
  ctype: 'C',
  locale: null,
  icuRules: null,
  collationVersion: '2.36',
  tablespace: 'pg_default',
  connectionLimit: -1,
  comment: null,
  grants: null,
  settings: [],
  sizeBytes: 1,
};

describe('createDatabase', () => {
  it('takes encoding and locale from the source, beside template0 only', () => {
    expect(createDatabase('x', PLAIN, undefined, 150_018)).toBe(
      `CREATE DATABASE "x" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'en_US.UTF-8' LC_CTYPE 'C' LOCALE_PROVIDER libc`,
    );
  });

  it('says nothing of providers to a server that knows none', () => {
    expect(createDatabase('x', PLAIN, undefined, 140_023)).not.toContain('LOCALE_PROVIDER');
  });

  it('speaks of ICU and builtin locales as the server’s version does', () => {
    const icu = { ...PLAIN, localeProvider: 'icu', locale: 'de-AT', icuRules: '&a < b' } as const;
    expect(createDatabase('x', icu, undefined, 160_000)).toMatch(
      /LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' ICU_RULES '&a < b'$/,
    );
    const builtin = { ...PLAIN, localeProvider: 'builtin', locale: 'C.UTF-8' } as const;
    expect(createDatabase('x', builtin, undefined, 170_000)).toMatch(
      /LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'$/,
    );
  });

  it('leaves all to the server for a dump without a manifest', () => {
    expect(createDatabase('we"ird', undefined, undefined, 150_018)).toBe(
      'CREATE DATABASE "we""ird" TEMPLATE template0',
    );
  });

  it('puts it into the tablespace that it is told', () => {
    expect(createDatabase('x', undefined, 'fast ssd', 150_018)).toMatch(/ TABLESPACE "fast ssd"$/);
  });
});

describe('databaseProperties', () => {
  const none: ReadonlySet<string> = new Set();

  it('gives the default grants by saying nothing of them', () => {
    expect(databaseProperties('x', PLAIN, none)).toEqual([]);
    expect(databaseOwner('x', PLAIN)).toBe('ALTER DATABASE "x" OWNER TO "app"');
  });

  it('takes the defaults away before it grants, so that what was revoked stays revoked', () => {
    const grants = [
      { grantee: null, privilege: 'TEMPORARY', grantable: false },
      { grantee: 'read er', privilege: 'CONNECT', grantable: true },
    ];
    expect(databaseProperties('x', { ...PLAIN, grants }, none)).toEqual([
      'REVOKE ALL ON DATABASE "x" FROM PUBLIC',
      'REVOKE ALL ON DATABASE "x" FROM "app"',
      'GRANT TEMPORARY ON DATABASE "x" TO PUBLIC',
      'GRANT CONNECT ON DATABASE "x" TO "read er" WITH GRANT OPTION',
    ]);
  });

  it('lets no manifest smuggle in a statement as a privilege', () => {
    const grants = [{ grantee: null, privilege: 'CONNECT ON DATABASE y TO z; DROP', grantable: false }];
    expect(() => databaseProperties('x', { ...PLAIN, grants }, none)).toThrow(/unknown database privilege/);
  });

  it('quotes each element of a list setting, and every other value whole', () => {
    const settings = [
      {
        role: null,
        values: ['search_path="$user", public, "odd, ""one"', "app.tenant=it's, a \\ b", 'work_mem=64MB'],
      },
      { role: 'reader', values: ['search_path=""', 'statement_timeout=5s'] },
    ];
    expect(databaseProperties('x', { ...PLAIN, settings }, none)).toEqual([
      `ALTER DATABASE "x" SET "search_path" TO '$user', 'public', 'odd, "one'`,
      `ALTER DATABASE "x" SET "app.tenant" TO E'it''s, a \\\\ b'`,
      `ALTER DATABASE "x" SET "work_mem" TO '64MB'`,
      `ALTER ROLE "reader" IN DATABASE "x" SET "search_path" TO ''`,
      `ALTER ROLE "reader" IN DATABASE "x" SET "statement_timeout" TO '5s'`,
    ]);
  });

  it('leaves out a setting that the server does not know, and sets a connection limit only where there is one', () => {
    const source = { ...PLAIN, settings: [{ role: null, values: ['gone=1'] }], connectionLimit: 7 };
    expect(databaseProperties('x', source, new Set(['gone']))).toEqual([
      'ALTER DATABASE "x" CONNECTION LIMIT 7',
    ]);
  });
});

it('writes a comment with quotes and backslashes, or takes it away', () => {
  expect(commentOnDatabase('x', "it's \\ here")).toBe(`COMMENT ON DATABASE "x" IS E'it''s \\\\ here'`);
  expect(commentOnDatabase('x', null)).toBe('COMMENT ON DATABASE "x" IS NULL');
});
