import { chmodSync, chownSync, mkdtempSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { reachableTempDir, serverUser } from '../set-up/postgres-installation.ts';
import { runPsql } from '../set-up/psql.ts';
import { startWatchdog, type Watchdog } from '../set-up/watchdog.ts';
import { runAgent } from './agent.ts';
import type { Stage } from './stage.ts';

/** What `lifeboat restore --json` tells of a recovery, as far as it is needed here. */
interface RecoveryJson {
  readonly base: string;
  readonly dataDir: string;
  readonly socketDir: string;
  readonly port: number;
  readonly segments: number;
  readonly durationsMs: { readonly total: number };
}

/** Another machine, as far as one machine can be: PostgreSQL's programs, the agent, the buckets' names, and nothing else. */
export class EmptyHost {
  readonly recovered: RecoveryJson;
  readonly #stage: Stage;
  readonly #folder: string;
  readonly #watchdog: Watchdog;

  private constructor(stage: Stage, folder: string, watchdog: Watchdog, recovered: RecoveryJson) {
    this.#stage = stage;
    this.#folder = folder;
    this.#watchdog = watchdog;
    this.recovered = recovered;
  }

  /** @throws LifeboatError with what the recovery printed */
  static async recover(stage: Stage, ...target: readonly string[]): Promise<EmptyHost> {
    const user = serverUser();
    const folder = mkdtempSync(path.join(reachableTempDir(user), 'lifeboat-empty-'));
    chmodSync(folder, 0o755);
    if (user) chownSync(folder, user.uid, user.gid);
    const watchdog = startWatchdog(folder);
    try {
      const env = {
        PATH: process.env['PATH'] ?? '',
        HOME: folder,
        BACKUP_DIR: path.join(folder, 'backups'),
        PG_BIN_DIR: stage.postgres.binDir,
        ...stage.s3Env,
      };
      const args = ['restore', ...target, '--data-dir', path.join(folder, 'data')];
      const recovered = await runAgent<RecoveryJson>(args, env);
      watchdog.watch(postmasterOf(recovered.dataDir));
      return new EmptyHost(stage, folder, watchdog, recovered);
    } catch (error) {
      await watchdog.end();
      throw error;
    }
  }

  async psql(sql: string): Promise<string> {
    const { socketDir, port } = this.recovered;
    const { env } = this.#stage.postgres;
    return await runPsql({ ...env, DB_HOST: socketDir, DB_PORT: String(port) }, 'postgres', sql);
  }

  /** Ends its server and removes all. */
  async remove(): Promise<void> {
    const pid = postmasterOf(this.recovered.dataDir);
    if (pid !== undefined) {
      process.kill(pid, 'SIGQUIT');
      while (isThere(pid)) await sleep(20);
    }
    this.#watchdog.watch(undefined);
    await rm(this.#folder, { recursive: true, force: true });
    await this.#watchdog.end();
  }
}

function postmasterOf(dataDir: string): number | undefined {
  try {
    return Number(readFileSync(path.join(dataDir, 'postmaster.pid'), 'utf8').split('\n')[0]);
  } catch {
    return undefined; // it does not run
  }
}

function isThere(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8') !== '';
  } catch {
    return false;
  }
}
