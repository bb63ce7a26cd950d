import { readFileSync } from 'node:fs';
import path from 'node:path';
import { childrenOf } from '../set-up/postgres-remains.ts';
import { startAgent, type Agent } from './agent.ts';
import type { Stage } from './stage.ts';

/** The machine that is lost: PostgreSQL and the agents beside it. */
export class DatabaseHost {
  readonly #stage: Stage;
  readonly #env: NodeJS.ProcessEnv;
  readonly #agents = new Set<Agent>();

  /** @param env settings besides those of the stage */
  constructor(stage: Stage, env: Readonly<Record<string, string>> = {}) {
    this.#stage = stage;
    this.#env = { ...stage.agentEnv, ...env };
  }

  start(...args: readonly string[]): Agent {
    const agent = startAgent(args, this.#env);
    this.#agents.add(agent);
    void agent.ended.then(() => this.#agents.delete(agent));
    return agent;
  }

  /** @returns once it streams */
  async startStream(): Promise<Agent> {
    const agent = this.start('wal', 'stream');
    await agent.untilPrinted(/Streaming WAL of cluster/);
    return agent;
  }

  /** SIGKILL to every process of the host at once, as when the power goes. @returns when, in ms since 1970 */
  async kill(): Promise<number> {
    const { postgres } = this.#stage;
    const [pid] = readFileSync(path.join(postgres.dataDir, 'postmaster.pid'), 'utf8').split('\n');
    const children = childrenOf(Number(pid));
    const agents = [...this.#agents];
    // The postmaster dies before this returns; its children would go on for a moment.
    const gone = postgres.kill();
    for (const child of children) killIfThere(child);
    for (const agent of agents) agent.kill('SIGKILL');
    const at = Date.now();
    await Promise.all([gone, ...agents.map(({ ended }) => ended)]);
    return at;
  }

  /** Ends the agents, whatever they do. */
  async close(): Promise<void> {
    const agents = [...this.#agents];
    for (const agent of agents) agent.kill('SIGKILL');
    await Promise.all(agents.map(({ ended }) => ended));
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself.
  }
}
