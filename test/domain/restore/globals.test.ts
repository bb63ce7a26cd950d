import { planGlobals } from '../../../lib/domain/restore/globals.ts';
import { splitStatements } from '../../../lib/domain/restore/statements.ts';

const FILE = `--
-- PostgreSQL database cluster dump
--

\\restrict abc;'

SET default_transaction_read_only = off;
SET client_encoding = 'UTF8';

--
-- Roles
--

CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b';
CREATE ROLE "we""ird; role";
ALTER ROLE "we""ird; role" WITH NOLOGIN;
COMMENT ON ROLE "we""ird; role" IS 'two
-- lines; and a quote '' here';
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER PASSWORD 'md5secret';

--
-- User Config "app"
--

ALTER ROLE app SET search_path TO 'x', 'y';
ALTER ROLE postgres SET work_mem TO '1GB';

--
-- Role memberships
--

GRANT "we""ird; role" TO app GRANTED BY postgres;
GRANT app TO postgres WITH ADMIN OPTION GRANTED BY gone;
GRANT pg_read_all_data TO postgres GRANTED BY postgres;
GRANT SET ON PARAMETER work_mem TO app;
GRANT SET ON PARAMETER work_mem TO postgres;

CREATE TABLESPACE fast OWNER app LOCATION '/ssd/pg';
ALTER TABLESPACE fast SET (random_page_cost=1);
GRANT CREATE ON TABLESPACE fast TO app;
COMMENT ON TABLESPACE fast IS 'ssd';

\\unrestrict abc
`;

describe('planGlobals', () => {
  const existing = { roles: new Set(['postgres', 'pg_read_all_data']), tablespaces: new Set(['pg_default']) };
  const plan = planGlobals(FILE, existing);

  it('creates the roles that are missing, with all that the file says of them', () => {
    expect(plan.created).toEqual(['app', 'we"ird; role']);
    expect(plan.statements).toEqual([
      'SET default_transaction_read_only = off',
      "SET client_encoding = 'UTF8'",
      'CREATE ROLE app',
      "ALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b'",
      'CREATE ROLE "we""ird; role"',
      'ALTER ROLE "we""ird; role" WITH NOLOGIN',
      `COMMENT ON ROLE "we""ird; role" IS 'two\n-- lines; and a quote '' here'`,
      "ALTER ROLE app SET search_path TO 'x', 'y'",
      'GRANT "we""ird; role" TO app GRANTED BY postgres',
      'GRANT app TO postgres WITH ADMIN OPTION',
      'GRANT SET ON PARAMETER work_mem TO app',
    ]);
  });

  it('leaves a role that exists as it is, above all its password', () => {
    expect(plan.leftAlone).toEqual(['postgres']);
    expect(plan.statements.join('\n')).not.toContain('md5secret');
    expect(plan.statements.join('\n')).not.toContain('1GB');
  });

  it('names the tablespaces that are missing, and touches none', () => {
    expect(plan.missingTablespaces).toEqual(['fast']);
    expect(plan.statements.join('\n')).not.toContain('TABLESPACE');
    expect(planGlobals(FILE, { ...existing, tablespaces: new Set(['fast']) }).missingTablespaces).toEqual([]);
  });

  it('runs nothing when every role exists', () => {
    const roles = new Set(['postgres', 'app', 'we"ird; role']);
    expect(planGlobals(FILE, { roles, tablespaces: new Set() })).toMatchObject({
      created: [],
      statements: [],
    });
  });

  it('drops no role, even when the file was made with --clean', () => {
    expect(planGlobals('DROP ROLE app;\nCREATE ROLE app;', existing).statements).toEqual(['CREATE ROLE app']);
  });
});

describe('splitStatements', () => {
  it('cuts at semicolons outside of strings, names, comments and dollar quotes', () => {
    const sql = `SELECT ';' ; SELECT E'\\';' /* ; /* ; */ ; */ ; -- ;\nSELECT ";" , $$ ; $$, $a$ $$ ; $a$, $1;\n\\set x ;\nSELECT 1`;
    expect(splitStatements(sql)).toEqual([
      "SELECT ';'",
      "SELECT E'\\';' /* ; /* ; */ ; */",
      '-- ;\nSELECT ";" , $$ ; $$, $a$ $$ ; $a$, $1',
      'SELECT 1',
    ]);
  });

  it('sees an E at the end of a word for part of the word', () => {
    expect(splitStatements(`SELECT a LIKE'\\'; SELECT 2`)).toEqual([`SELECT a LIKE'\\'`, 'SELECT 2']);
  });

  it('takes what is not closed for one statement to the end', () => {
    expect(splitStatements("SELECT 'x; SELECT 1;")).toEqual(["SELECT 'x; SELECT 1;"]);
    expect(splitStatements('/* x;')).toEqual(['/* x;']);
  });

  it('finds nothing in nothing', () => {
    expect(splitStatements(' \n-- only a comment\n;;')).toEqual([]);
  });
});
