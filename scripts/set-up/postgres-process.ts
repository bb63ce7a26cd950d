import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { LifeboatError } from '../../lib/domain/errors.ts';
import type { PostgresCluster } from './postgres-cluster.ts';
import {
  childrenOf,
  endProcesses,
  releaseShared,
  sharedMemoryOf,
  type SharedMemory,
} from './postgres-remains.ts';
import type { Watchdog } from './watchdog.ts';

export type StopMode = 'smart' | 'fast' | 'immediate';

const STOP_SIGNAL: Record<StopMode, NodeJS.Signals> = {
  smart: 'SIGTERM',
  fast: 'SIGINT',
  immediate: 'SIGQUIT',
};
const START_LIMIT_MS = 240_000;

/** The server of a cluster, as a process: started, stopped or killed, again and again. */
export class PostgresProcess {
  readonly #cluster: PostgresCluster;
  readonly #watchdog: Watchdog;
  #postmaster: ChildProcess | undefined;
  /** What a killed postmaster left in shared memory; the next start clears it, or else releaseRemains() does. */
  #remains: SharedMemory | undefined;

  constructor(cluster: PostgresCluster, watchdog: Watchdog) {
    this.#cluster = cluster;
    this.#watchdog = watchdog;
  }

  get runs(): boolean {
    return this.#postmaster !== undefined;
  }

  /** @returns once it takes connections @throws LifeboatError DB_CONNECT with the end of its log */
  async start(port: number): Promise<void> {
    const { root, user, binDir, dataDir, logFile, environment } = this.#cluster;
    await this.#cluster.writeSettings(port);
    const log = openSync(logFile, 'w');
    const postmaster = spawn(path.join(binDir, 'postgres'), ['-D', dataDir], {
      cwd: root,
      env: environment,
      stdio: ['ignore', log, log],
      // Its own session: Ctrl-C in our terminal must reach us, not the server that we still need for tidying up.
      detached: true,
      ...user,
    });
    closeSync(log);
    this.#watchdog.watch(postmaster.pid);
    postmaster.once('exit', () => {
      if (this.#postmaster === postmaster) this.#postmaster = undefined;
      this.#watchdog.watch(undefined);
    });
    this.#postmaster = postmaster;
    await this.#untilReady(postmaster);
    this.#remains = undefined;
    postmaster.unref();
  }

  async #untilReady(postmaster: ChildProcess): Promise<void> {
    const limit = Date.now() + START_LIMIT_MS;
    while (postmaster.exitCode === null && postmaster.signalCode === null && Date.now() < limit) {
      if (this.#isReady(postmaster.pid)) return;
      await sleep(10);
    }
    postmaster.kill('SIGQUIT');
    const { dataDir, binDir } = this.#cluster;
    throw new LifeboatError(
      'DB_CONNECT',
      `PostgreSQL in ${dataDir} did not start:\n${this.#cluster.lastLog()}`,
      { hint: `Its programs are those of ${binDir}.` },
    );
  }

  /** The postmaster writes its state into the eighth line of its pid file, as pg_ctl reads it. */
  #isReady(pid: number | undefined): boolean {
    try {
      const lines = readFileSync(path.join(this.#cluster.dataDir, 'postmaster.pid'), 'utf8').split('\n');
      return lines[0] === String(pid) && /^(ready|standby)/.test(lines[7] ?? '');
    } catch {
      return false; // not written yet
    }
  }

  async stop(mode: StopMode = 'fast'): Promise<void> {
    const postmaster = this.#postmaster;
    if (!postmaster) return;
    postmaster.ref();
    const gone = once(postmaster, 'exit');
    postmaster.kill(STOP_SIGNAL[mode]);
    await gone;
  }

  /** SIGKILL to the postmaster; its children end too. */
  async kill(): Promise<void> {
    const postmaster = this.#postmaster;
    if (!postmaster?.pid) return;
    // Else it might start another child while we look.
    postmaster.kill('SIGSTOP');
    const children = childrenOf(postmaster.pid);
    this.#remains = sharedMemoryOf([postmaster.pid, ...children]);
    postmaster.ref();
    const gone = once(postmaster, 'exit');
    postmaster.kill('SIGKILL');
    await gone;
    await endProcesses(children);
  }

  /** Once it is gone for good: shared memory outlives processes. */
  async releaseRemains(): Promise<void> {
    if (this.#remains) await releaseShared(this.#remains);
    this.#remains = undefined;
  }
}
