import { formatBytes, formatCount } from '../../lib/domain/quantities.ts';
import { runAgent } from './agent.ts';
import { EmptyHost } from './empty-host.ts';
import { compareWithServer } from './stored-wal.ts';
import type { Stage } from './stage.ts';

/** A server whose WAL all stays, to be compared with. */
export const WAL_KEPT = { wal_keep_size: '100GB', max_wal_size: '4GB' } as const;

interface VerifyJson {
  readonly clusters: readonly { readonly problems: readonly string[]; readonly records: number }[];
}

interface Proof {
  /** What was looked at, for people. */
  readonly line: string;
  readonly failures: readonly string[];
}

const TABLES = [
  'pgbench_accounts',
  'pgbench_branches',
  'pgbench_tellers',
  'pgbench_history',
  'told',
] as const;

/**
 * That nothing is missing and nothing differs, once the load is over and S3 holds all: each object byte by byte against the
 * server's files, `wal verify`, and the tables' checksums after a recovery on an empty host from each of `bases`.
 * @param bases labels; the newest when left out
 */
export async function proveNothingMissing(stage: Stage, bases: readonly string[] = []): Promise<Proof> {
  const { segments, pieces, bytes, problems } = await compareWithServer(stage);
  const verified = await runAgent<VerifyJson>(['wal', 'verify'], stage.agentEnv);
  const records = verified.clusters.reduce((sum, cluster) => sum + cluster.records, 0);
  const failures = [...problems, ...verified.clusters.flatMap((cluster) => cluster.problems)];
  const there = await stage.postgres.psql('postgres', CHECKSUMS);
  const targets = bases.length === 0 ? [[]] : bases.map((base) => ['--base', base]);
  for (const target of targets) {
    const host = await EmptyHost.recover(stage, '--latest', ...target);
    const found = await host.psql(CHECKSUMS);
    if (found !== there) failures.push(`recovered from ${host.recovered.base}: ${found} instead of ${there}`);
    await host.remove();
  }
  return {
    line: `${formatCount(segments, 'segment')} and ${formatCount(pieces, 'piece')} of the journal (${formatBytes(bytes)}) compared with the server's own, ${formatCount(records, 'record')} read by \`wal verify\`, ${targets.length === 1 ? 'one recovery' : `${targets.length} recoveries`} compared table by table`,
    failures,
  };
}

/** One line for all rows of all tables, whatever their order. */
const CHECKSUMS = TABLES.map(
  (table) => `SELECT '${table}', count(*), sum(hashtextextended(t::text, 0)) FROM ${table} AS t`,
).join(' UNION ALL ');
