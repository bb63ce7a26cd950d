import { readFileSync } from 'node:fs';
import path from 'node:path';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { childrenOf } from '../set-up/postgres-remains.ts';
import type { PostgresOptions } from '../set-up/postgres-server.ts';
import { startAgent, type Agent } from './agent.ts';
import type { ScenarioContext } from './scenario.ts';
import { setStage, type Stage } from './stage.ts';

/** What a scenario with one database host plays on, and in which form: short or full. */
export interface HostGround<Form> {
  readonly stage: Stage;
  readonly host: DatabaseHost;
  readonly context: ScenarioContext;
  readonly form: Form;
}

/** Sets the stage, plays, and strikes it whatever happens. @param env the agents' settings besides those of the stage */
export async function playOnHost<Form, Result>(
  { context, form }: Pick<HostGround<Form>, 'context' | 'form'>,
  { env, ...options }: PostgresOptions & { readonly env: Readonly<Record<string, string>> },
  play: (ground: HostGround<Form>) => Promise<Result>,
): Promise<Result> {
  const stage = await setStage(options);
  const host = new DatabaseHost(stage, env);
  try {
    return await play({ stage, host, context, form });
  } finally {
    await host.close();
    await stage.close();
  }
}

/** The machine that is lost: PostgreSQL and the agents beside it. */
class DatabaseHost {
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

  /** A base backup. @returns its label. @throws LifeboatError BUG when it fails */
  async backUp(): Promise<string> {
    const { status, stdout, printed } = await this.start('backup', '--kind', 'base', '--json').ended;
    if (status === 0) return (JSON.parse(stdout) as { label: string }).label;
    throw new LifeboatError('BUG', `The base backup ended with ${status}:\n${printed}`);
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
