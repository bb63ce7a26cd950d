import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { cpuOfTree, measure, type Command } from '../measured-run.ts';
import type { Contender } from '../rounds.ts';
import type { Stage } from '../stage.ts';
import type { Measured } from '../table.ts';
import { agentCommand, agentFolder, clear, type PitrGround } from './ground.ts';
import { bytesBelow } from './pgbackrest.ts';

/** What makes base backups, each into a folder on the same disk. */

export const LEVELS = [1, 3] as const;

const LIMIT = `exec tar -C "$DATA" --exclude=./pg_wal --warning=no-file-changed -cf - . | zstd -q -T"$CORES" -"$LEVEL" -f -o "$FILE"`;

export function baseBackupContenders(ground: PitrGround): Contender[] {
  return LEVELS.flatMap((level) => [
    {
      id: `limit ${level}`,
      label: `\`tar \\| zstd -T2 -${level}\``,
      run: () => runLimit(ground, level),
    },
    {
      id: `pgbackrest ${level}`,
      label: `pgBackRest, zst level ${level}`,
      run: () => runPgBackRest(ground, level),
    },
    {
      id: `base ${level}`,
      label: `\`lifeboat backup --kind base\`, level ${level}`,
      run: () => runAgent(ground, level),
    },
  ]);
}

async function runLimit({ stage, signal }: PitrGround, level: number): Promise<Measured> {
  const folder = path.join(stage.folder, 'limit');
  clear(folder);
  const file = path.join(folder, 'data.tar.zst');
  const command = {
    program: '/bin/sh',
    args: ['-c', LIMIT],
    env: {
      ...stage.toolEnv,
      DATA: stage.postgres.dataDir,
      FILE: file,
      LEVEL: String(level),
      CORES: '2',
    },
    cwd: stage.folder,
  };
  const measured = await measure(command, { signal, agent: false });
  return { ...measured, fileBytes: statSync(file).size };
}

async function runPgBackRest(ground: PitrGround, level: number): Promise<Measured> {
  const { inFolder } = ground;
  execFileSync('sync');
  const command = inFolder.command('--type=full', `--compress-level=${level}`, 'backup');
  const measured = await withServer(ground.stage, () =>
    measure(command, { signal: ground.signal, agent: false }),
  );
  const fileBytes = inFolder.newestBytes();
  inFolder.run('--repo1-retention-full=1', 'expire');
  return { ...measured, fileBytes };
}

async function runAgent(ground: PitrGround, level: number): Promise<Measured> {
  const folder = agentFolder(ground, `base-${level}`);
  clear(folder);
  const command: Command = agentCommand(ground, ['backup', '--kind', 'base'], { folder, level, s3: false });
  const measured = await withServer(ground.stage, () =>
    measure(command, { signal: ground.signal, agent: true }),
  );
  return { ...measured, fileBytes: bytesBelow(path.join(folder, 'pitr')) };
}

/** The server reads the files for us, and pgBackRest reads them itself: both count. */
async function withServer(stage: Stage, run: () => Promise<Measured>): Promise<Measured> {
  const postmaster = Number(
    readFileSync(path.join(stage.postgres.dataDir, 'postmaster.pid'), 'utf8').split('\n')[0],
  );
  const before = cpuOfTree(postmaster);
  const measured = await run();
  return { ...measured, cpuSeconds: measured.cpuSeconds + cpuOfTree(postmaster) - before };
}
