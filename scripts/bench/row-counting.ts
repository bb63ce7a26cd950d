import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { createDumpCounter } from '../agent/data-path/dump-counter.ts';
import type { Contender } from './rounds.ts';
import type { Stage } from './stage.ts';
import type { Measured } from './table.ts';

/**
 * What counting the rows adds to a backup: the counter's own CPU time over the same dump, in pieces as the agent gets
 * them. No switch in the agent turns counting off, and the whole of a backup varies by more than this is.
 */
export function countingContenders(stage: Stage, signal: AbortSignal): Contender[] {
  return [
    {
      id: 'count plain',
      label: 'counting the rows of a plain dump',
      run: () => countDump(stage, signal, 'plain'),
    },
    {
      id: 'count custom',
      label: 'counting the rows of a custom dump',
      run: () => countDump(stage, signal, 'custom'),
    },
  ];
}

const ARGUMENTS = { plain: [], custom: ['--format=custom', '--compress=0'] } as const;

/**
 * CPU time, not the clock: the clock also runs while PostgreSQL has the core. The kernel brings a thread's CPU time up to
 * date only at its ticks, so pieces are gathered and counted many at a time.
 */
const GATHERED_BYTES = 128 * 1024 * 1024;

async function countDump(stage: Stage, signal: AbortSignal, format: 'plain' | 'custom'): Promise<Measured> {
  const child = spawn(path.join(stage.binDir, 'pg_dump'), ARGUMENTS[format], {
    env: stage.toolEnv,
    stdio: ['ignore', 'pipe', 'inherit'],
    signal,
  });
  const ended = once(child, 'close');
  const counter = createDumpCounter(format);
  let gathered: Buffer[] = [];
  let gatheredBytes = 0;
  let micros = 0;
  const count = (): void => {
    const before = process.threadCpuUsage();
    for (const chunk of gathered) counter.push(chunk);
    const { user, system } = process.threadCpuUsage(before);
    micros += user + system;
    gathered = [];
    gatheredBytes = 0;
  };
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    gathered.push(chunk);
    gatheredBytes += chunk.length;
    if (gatheredBytes >= GATHERED_BYTES) count();
  }
  count();
  const [status] = (await ended) as [number | null];
  if (status !== 0 || !counter.end().complete)
    throw new LifeboatError('DUMP_FAILED', `pg_dump ended with status ${status}`);
  return { seconds: micros / 1e6, cpuSeconds: micros / 1e6 };
}
