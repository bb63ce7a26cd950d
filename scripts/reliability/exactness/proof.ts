import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { EmptyHost } from '../empty-host.ts';
import type { ScenarioContext } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import type { Truth } from './clusters.ts';
import { differences, expectedState, type ClusterState } from './expected-state.ts';
import { disagreements, readState, useIt } from './found-state.ts';

interface Trial {
  /** For people: what kind of target. */
  readonly kind: string;
  readonly args: readonly string[];
  readonly truth: Truth;
  /** So many of its records, from the first, are to be in it. */
  readonly replayed: number;
}

interface Outcome {
  readonly kind: string;
  readonly transactions: number;
  readonly prepared: number;
  readonly differences: number;
}

/** Recovers, compares, and keeps the count. */
export class Proof {
  readonly #stage: Stage;
  readonly #context: ScenarioContext;
  readonly #outcomes: Outcome[] = [];
  readonly failures: string[] = [];

  constructor(stage: Stage, context: ScenarioContext) {
    this.#stage = stage;
    this.#context = context;
  }

  /** A cluster of its own, gone afterwards. */
  async try(trial: Trial): Promise<void> {
    const host = await this.recover(trial);
    if (!host) return;
    try {
      const { prepared } = expected(trial);
      this.#report(trial, [
        ...(await useIt((sql) => host.psql(sql), prepared)),
        ...(await this.#check(trial, host)),
      ]);
    } finally {
      await host.remove();
    }
  }

  /** @returns the cluster that was recovered and compared; it is the caller's to remove. `undefined`: there is none */
  async recover(trial: Trial): Promise<EmptyHost | undefined> {
    this.#context.signal.throwIfAborted();
    let host: EmptyHost;
    try {
      host = await EmptyHost.recover(this.#stage, ...trial.args);
    } catch (error) {
      if (!(error instanceof LifeboatError)) throw error;
      this.#report(trial, [error.message]);
      return undefined;
    }
    try {
      const state = expected(trial);
      const found = [
        ...differences(state, await readState((sql) => host.psql(sql))),
        ...(await disagreements((sql) => host.psql(sql))),
      ];
      this.#note(trial, state, found);
      return host;
    } catch (error) {
      await host.remove();
      throw error;
    }
  }

  #note({ kind, args }: Trial, { marks, prepared }: ClusterState, found: readonly string[]): void {
    const transactions = new Set(marks.map((mark) => mark.split(' ')[0])).size;
    this.#outcomes.push({ kind, transactions, prepared: prepared.length, differences: found.length });
    this.#context.say(
      `${args.join(' ')}: ${transactions} transactions, ${prepared.length} still prepared${found.length === 0 ? '' : ' ✘'}`,
    );
    this.#report({ kind, args }, found);
  }

  #report({ args }: Pick<Trial, 'kind' | 'args'>, found: readonly string[]): void {
    for (const each of found) this.failures.push(`${args.join(' ')}: ${each}`);
  }

  /** PostgreSQL's own judgement of every table and index. */
  async #check({ kind }: Trial, { recovered }: EmptyHost): Promise<string[]> {
    if (kind !== EVERYTHING) return [];
    const { postgres, binDir } = this.#stage;
    const { socketDir, port } = recovered;
    const at = ['-h', socketDir, '-p', String(port), '-U', postgres.superuser, '-d', 'postgres'];
    try {
      await promisify(execFile)(path.join(binDir, 'pg_amcheck'), [
        ...at,
        '--heapallindexed',
        '--no-dependent-toast',
      ]);
      return [];
    } catch (error) {
      return [`pg_amcheck: ${(error as Error).message}`];
    }
  }

  /** A row for each kind of target, in the order in which they were tried. */
  table(): string[] {
    const kinds = Map.groupBy(this.#outcomes, ({ kind }) => kind);
    const rows = [...kinds].map(([kind, outcomes]) => {
      const counts = outcomes.map(({ transactions }) => transactions);
      const prepared = outcomes.reduce((sum, each) => sum + each.prepared, 0);
      const wrong = outcomes.reduce((sum, each) => sum + each.differences, 0);
      const [least, most] = [Math.min(...counts), Math.max(...counts)];
      return `| ${kind} | ${outcomes.length} | ${least === most ? least : `${least} to ${most}`} | ${prepared} | ${wrong} |`;
    });
    return [
      '| Target | Recoveries | Transactions in it | Still prepared | Differences |',
      '| --- | --- | --- | --- | --- |',
      ...rows,
    ];
  }
}

export const EVERYTHING = 'all that S3 holds';

function expected({ truth, replayed }: Trial): ClusterState {
  return expectedState(truth.records.slice(0, replayed), truth.marks);
}
