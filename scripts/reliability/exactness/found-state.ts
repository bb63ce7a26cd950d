import { ACCOUNTS } from './load.ts';
import type { ClusterState, Mark } from './expected-state.ts';

/** Runs SQL in the cluster's only database. @throws LifeboatError DB_QUERY */
export type Psql = (sql: string) => Promise<string>;

const STATE = `
  SELECT jsonb_build_object(
    'marks', (SELECT coalesce(jsonb_agg(concat_ws(' ', xid, kind, n, to_char(
                pg_xact_commit_timestamp(xid::xid) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))), '[]') FROM marks),
    'relations', (SELECT coalesce(jsonb_agg(key || ': ' || value), '[]') FROM jsonb_each_text(made_tables())),
    'objects', (SELECT coalesce(jsonb_agg(oid || ': ' || md5(lo_get(oid))), '[]') FROM pg_largeobject_metadata),
    'prepared', (SELECT coalesce(jsonb_agg(gid), '[]') FROM pg_prepared_xacts))`;

export async function readState(psql: Psql): Promise<ClusterState> {
  const state = JSON.parse(await psql(STATE)) as Record<keyof ClusterState, string[]>;
  const { marks, relations, objects, prepared } = state;
  return {
    marks: marks.toSorted(),
    relations: relations.toSorted(),
    objects: objects.toSorted(),
    prepared: prepared.toSorted(),
  };
}

export async function readMarks(psql: Psql): Promise<Mark[]> {
  const rows = await psql(
    `SELECT coalesce(jsonb_agg(jsonb_build_array(xid::text::bigint, kind, n)), '[]') FROM marks`,
  );
  return (JSON.parse(rows) as [number, string, number][]).map(([xid, kind, n]) => ({ xid, kind, n }));
}

/** Each gives 0 when tables, tablespaces and marks agree with one another. */
const AGREEMENTS: Readonly<Record<string, string>> = {
  'accounts whose balance is not the sum of its transfers': `
    SELECT count(*) FROM accounts AS a WHERE balance <>
      (SELECT coalesce(sum(n), 0) FROM m WHERE target = a.id) - (SELECT coalesce(sum(n), 0) FROM m WHERE source = a.id)`,
  'accounts too many': `SELECT count(*) - ${ACCOUNTS} FROM accounts`,
  'rows of the other tablespace without their transfer': `
    SELECT count(*) FROM (SELECT xid, n FROM elsewhere EXCEPT ALL SELECT xid, n FROM m WHERE kind = 'transfer') AS x`,
  'transfers without their row in the other tablespace': `
    SELECT count(*) FROM (SELECT xid, n FROM m WHERE kind = 'transfer' EXCEPT ALL SELECT xid, n FROM elsewhere) AS x`,
  'rows in the unlogged table': 'SELECT count(*) FROM volatile',
};

/** @returns what does not agree, as lines for people */
export async function disagreements(psql: Psql): Promise<string[]> {
  // A copy, for its indexes: what is still prepared keeps the table itself locked.
  const copy =
    'CREATE TEMPORARY TABLE m AS TABLE marks; CREATE INDEX ON m (target); CREATE INDEX ON m (source);';
  const questions = Object.values(AGREEMENTS).map((question) => `${question};`);
  const answers = (await psql([copy, ...questions].join('\n'))).split('\n');
  return Object.keys(AGREEMENTS).flatMap((what, at) =>
    answers[at] === '0' ? [] : [`${answers[at]} ${what}`],
  );
}

/** What whoever recovers would do next: write, also into the unlogged table, and end what is still prepared. */
export async function useIt(psql: Psql, prepared: readonly string[]): Promise<string[]> {
  const commits = prepared.map((gid) => `COMMIT PREPARED '${gid}';`).join('\n');
  const answer = await psql(`
    INSERT INTO volatile SELECT n FROM generate_series(1, 100) AS n;
    UPDATE accounts SET balance = balance + 1; CREATE TABLE made_0 TABLESPACE one AS SELECT 1 AS n;
    SELECT lo_unlink(oid) FROM pg_largeobject_metadata \\g /dev/null
    ${commits}
    SELECT count(*), (SELECT count(*) FROM marks WHERE kind = 'prepared' AND 'p_' || n = ANY ('{${prepared.join(',')}}'))
      FROM volatile WHERE n BETWEEN 1 AND 100;`);
  const expected = `100|${prepared.length}`;
  return answer === expected ? [] : [`after writing to it: ${answer} instead of ${expected}`];
}
