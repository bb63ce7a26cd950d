import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { countRows, DATABASE } from '../database.ts';
import { measure } from '../measured-run.ts';
import type { Contender } from '../rounds.ts';
import type { Measured } from '../table.ts';
import { agentCommand, agentFolder, type PitrGround } from './ground.ts';
import { startAndStop } from './started-cluster.ts';

/** What restores the newest base backup of level 1, from a folder into a folder on the same disk. */

/** @param expected rows of the source, which every restore must bring back */
export function baseRestoreContenders(ground: PitrGround, expected: string): Contender[] {
  return [
    {
      id: 'pgbackrest restore',
      label: '`pgbackrest restore`, then the server until it is open',
      run: () => checked(ground, expected, (target) => runPgBackRest(ground, target)),
    },
    {
      id: 'base restore',
      label: '`lifeboat restore --immediate`',
      run: () => checked(ground, expected, (target) => runAgent(ground, target)),
    },
  ];
}

async function runPgBackRest(ground: PitrGround, target: string): Promise<Measured> {
  const { inFolder, signal } = ground;
  const how = ['--type=immediate', '--target-action=promote', `--pg1-path=${target}`];
  const restored = await measure(inFolder.command(...how, 'restore'), { signal, agent: false });
  const begun = performance.now();
  await startAndStop(ground, target);
  return { ...restored, seconds: restored.seconds + (performance.now() - begun) / 1000 };
}

function runAgent(ground: PitrGround, target: string): Promise<Measured> {
  const args = ['restore', '--immediate', '--action', 'shutdown', '--data-dir', target];
  const command = agentCommand(ground, args, { folder: agentFolder(ground, 'base-1'), s3: false });
  return measure(command, { signal: ground.signal, agent: true });
}

/** @throws LifeboatError ROWS_DIFFER: a restore that loses rows is no contender */
async function checked(
  ground: PitrGround,
  expected: string,
  run: (target: string) => Promise<Measured>,
): Promise<Measured> {
  const target = path.join(ground.folder, 'restored');
  rmSync(target, { recursive: true, force: true });
  execFileSync('sync');
  const measured = await run(target);
  await startAndStop(ground, target, async (psql) => {
    const found = await countRows({ psql }, DATABASE);
    if (found !== expected)
      throw new LifeboatError('ROWS_DIFFER', `A restore brought back ${found} instead of ${expected}`);
  });
  rmSync(target, { recursive: true, force: true });
  return measured;
}
