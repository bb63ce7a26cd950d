import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { DATABASE } from '../database.ts';
import { measure } from '../measured-run.ts';
import type { Contender } from '../rounds.ts';
import type { Measured } from '../table.ts';
import { agentCommand, agentFolder, type PitrGround } from './ground.ts';
import { startAndStop } from './started-cluster.ts';
import type { Backlog } from './wal-backlog.ts';

/** How long the server takes from its start with a restored base backup until it has replayed a backlog, is open, and stopped. */
export function replayContenders(ground: PitrGround, backlog: Backlog): Contender[] {
  return [
    {
      id: 'pgbackrest replay',
      label: 'pgBackRest, `archive-get` with `archive-async`',
      run: () => inFreshFolder(ground, (target) => replayWithPgBackRest(ground, backlog, target)),
    },
    {
      id: 'wal replay',
      label: '`lifeboat restore --to-name`, its replay',
      run: () => inFreshFolder(ground, (target) => replayWithAgent(ground, backlog, target)),
    },
  ];
}

async function replayWithPgBackRest(
  ground: PitrGround,
  { restorePoint }: Backlog,
  target: string,
): Promise<Measured> {
  const how = ['--type=name', `--target=${restorePoint}`, '--target-action=promote', `--pg1-path=${target}`];
  const { signal, inS3 } = ground;
  await measure(inS3.command(...how, 'restore'), { signal, agent: false });
  execFileSync('sync');
  const begun = performance.now();
  await startAndStop(ground, target);
  return { seconds: (performance.now() - begun) / 1000, cpuSeconds: Number.NaN };
}

async function replayWithAgent(
  ground: PitrGround,
  { restorePoint }: Backlog,
  target: string,
): Promise<Measured> {
  const how = ['--to-name', restorePoint, '--action', 'shutdown', '--data-dir', target, '--json'];
  const command = agentCommand(ground, ['restore', ...how], {
    folder: agentFolder(ground, 'wal'),
    s3: true,
  });
  const measured = await measure(command, { signal: ground.signal, agent: true });
  const replaying = /"replaying":\s*(\d+)/.exec(measured.said ?? '')?.[1];
  if (replaying === undefined)
    throw new LifeboatError('BUG', `lifeboat restore did not say how long the replay took: ${measured.said}`);
  return { ...measured, seconds: Number(replaying) / 1000 };
}

/** @throws LifeboatError ROWS_DIFFER when the backlog is not in it */
async function inFreshFolder(
  ground: PitrGround,
  run: (target: string) => Promise<Measured>,
): Promise<Measured> {
  const target = path.join(ground.folder, 'recovered');
  rmSync(target, { recursive: true, force: true });
  execFileSync('sync');
  const measured = await run(target);
  await startAndStop(ground, target, async (psql) => {
    if ((await psql(DATABASE, 'SELECT count(*) > 0 FROM backlog')) !== 't')
      throw new LifeboatError('ROWS_DIFFER', `The recovered cluster lacks what the WAL brought`);
  });
  rmSync(target, { recursive: true, force: true });
  return measured;
}
