import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { ENV } from '../../lib/domain/names.ts';
import { agentDump, customDump, oldDump, runShell } from './contenders.ts';
import { countRows } from './database.ts';
import { measure } from './measured-run.ts';
import type { Contender } from './rounds.ts';
import type { Stage } from './stage.ts';
import type { Measured } from './table.ts';

/** What restores the backups that the contenders left, each into a database that is not there yet. */

const TARGET = 'bench_restored';
const OLD_RESTORE = `gunzip -c "$FILE" | psql -X -q -v ON_ERROR_STOP=1 -d "$TARGET" > /dev/null`;
const PARALLEL_RESTORE = `exec pg_restore --exit-on-error -j "$JOBS" -d "$TARGET" "$FILE"`;

/** @param expected rows of the source, which every restore must bring back */
export function restoreContenders(stage: Stage, signal: AbortSignal, expected: string): Contender[] {
  const shell = (text: string, file: string): Promise<Measured> =>
    checked(stage, expected, async () => {
      await stage.postgres.createDatabase(TARGET);
      const jobs = String(availableParallelism());
      return runShell(stage, signal, text, { FILE: file, TARGET, JOBS: jobs });
    });
  const agent = (id: string, from: string, label: string): Contender => ({
    id,
    label,
    run: () => checked(stage, expected, () => runAgentRestore(stage, signal, from)),
  });
  return [
    {
      id: 'old restore',
      label: '`gunzip \\| psql`',
      run: () => shell(OLD_RESTORE, oldDump(stage)),
    },
    agent('restore gzip', 'gzip', '`lifeboat restore` (gzip)'),
    agent('restore zstd', 'zstd', '`lifeboat restore` (zstd)'),
    agent('restore custom', 'custom', '`lifeboat restore` (custom, zstd)'),
    {
      id: 'pg_restore',
      label: `\`pg_restore -j ${availableParallelism()}\` of \`pg_dump -Fc\``,
      run: () => shell(PARALLEL_RESTORE, customDump(stage)),
    },
  ];
}

/** The agent makes the database itself. */
function runAgentRestore(stage: Stage, signal: AbortSignal, from: string): Promise<Measured> {
  const file = agentDump(stage, from);
  const env = { ...stage.agentEnv, [ENV.backupDir]: path.dirname(file) };
  const args = ['restore', file, '--to-database', TARGET];
  return measure({ program: stage.agent, args, env, cwd: stage.folder }, { signal, agent: true });
}

/** @throws LifeboatError ROWS_DIFFER: a restore that loses rows is no contender */
async function checked(stage: Stage, expected: string, run: () => Promise<Measured>): Promise<Measured> {
  const { postgres } = stage;
  await postgres.psql('postgres', `DROP DATABASE IF EXISTS ${TARGET}`);
  await postgres.psql('postgres', 'CHECKPOINT');
  execFileSync('sync');
  const measured = await run();
  const found = await countRows(postgres, TARGET);
  await postgres.psql('postgres', `DROP DATABASE ${TARGET}`);
  if (found === expected) return measured;
  throw new LifeboatError('ROWS_DIFFER', `A restore brought back ${found} instead of ${expected}`);
}
