import { execFile } from 'node:child_process';
import { chownSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { serverUser } from '../set-up/postgres-installation.ts';
import { runPsql } from '../set-up/psql.ts';
import { startWatchdog } from '../set-up/watchdog.ts';
import { runAgent, type AgentRun } from './agent-run.ts';
import { printCommand, printLine, printOutput, printStep, printVerdict } from './screen.ts';
import type { Stage } from './stage.ts';

const DATABASE = 'hostmaster_support';
const TABLE = 'tickets';
const TICKETS = 40;
const SETTINGS = { WAL_JOURNAL_SECONDS: '1' } as const;
const NOW = `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
const CONTENTS = `SELECT count(*) || ' rows, checksum ' || sum(hashtextextended(t::text, 0)) FROM ${TABLE} AS t`;

/** A table is dropped by mistake, and comes back as it was the second before. Returns whether it did. */
export async function playRecovery(stage: Stage, signal: AbortSignal): Promise<boolean> {
  printStep('Any second: point-in-time recovery');
  printLine('WAL goes to S3 while it is written; a base backup is where a recovery begins.');
  const end = new AbortController();
  const story = new Recovery(stage, signal);
  const stream = story.startStream(AbortSignal.any([signal, end.signal]));
  try {
    await stream.streaming;
    await story.backUp();
    const { before, target } = await story.mishap();
    await story.recover(target);
    return await story.bringBack(before);
  } finally {
    end.abort('SIGTERM');
    await stream.ended;
    await story.tidyUp();
  }
}

class Recovery {
  readonly #stage: Stage;
  readonly #signal: AbortSignal;
  readonly #folder: string;

  constructor(stage: Stage, signal: AbortSignal) {
    this.#stage = stage;
    this.#signal = signal;
    this.#folder = path.join(stage.folder, 'recovered');
    mkdirSync(this.#folder, { mode: 0o755 });
    const user = serverUser();
    if (user) chownSync(this.#folder, user.uid, user.gid);
  }

  startStream(signal: AbortSignal): { streaming: Promise<void>; ended: Promise<unknown> } {
    printCommand('lifeboat wal stream &    (a service: lifeboat install --systemd --wal)');
    let hear: () => void = () => undefined;
    const heard = new Promise<void>((resolve) => (hear = resolve));
    const onLine = (line: string): void => {
      if (/Streaming WAL of cluster/.test(line)) hear();
    };
    const run = runAgent(['wal', 'stream'], { ...this.#place, signal, onLine });
    const failed = run.then(({ lines }): never => {
      throw new LifeboatError('BUG', `lifeboat wal stream ended:\n${lines.join('\n')}`);
    });
    // It ends in any case, later; whoever waits for the beginning hears of it.
    failed.catch(() => undefined);
    return { streaming: Promise.race([heard, failed]), ended: run };
  }

  get #place(): { readonly env: NodeJS.ProcessEnv; readonly cwd: string } {
    const { folder, settings, postgres } = this.#stage;
    const own = { PATH: process.env['PATH'], HOME: folder, PG_BIN_DIR: postgres.binDir };
    return { env: { ...own, ...settings, ...SETTINGS }, cwd: folder };
  }

  async #agent(...args: readonly string[]): Promise<AgentRun> {
    printCommand(['lifeboat', ...args].join(' '));
    const run = await runAgent(args, { ...this.#place, signal: this.#signal, onLine: printOutput });
    if (run.status === 0) return run;
    throw new LifeboatError('BUG', `lifeboat ${args.join(' ')} ended with status ${run.status}.`);
  }

  async backUp(): Promise<void> {
    await this.#agent('backup', '--kind', 'base');
    this.#stage.slack.takeMessages();
  }

  /** @returns what the table held, and the second before it was dropped */
  async mishap(): Promise<{ before: string; target: string }> {
    const { postgres } = this.#stage;
    await postgres.createDatabase(DATABASE);
    await postgres.psql(
      DATABASE,
      `CREATE TABLE ${TABLE} (id int PRIMARY KEY, at timestamptz DEFAULT clock_timestamp(), text text)`,
    );
    const ticket = (id: number): string =>
      `INSERT INTO ${TABLE} (id, text) VALUES (${id}, 'My site is down, number ${id}');`;
    await postgres.psql(DATABASE, Array.from({ length: TICKETS }, (_, id) => ticket(id)).join('\n'));
    const before = await postgres.psql(DATABASE, CONTENTS);
    await sleep(1_100, undefined, { signal: this.#signal });
    const dropped = await postgres.psql(DATABASE, NOW);
    await postgres.psql(DATABASE, `DROP TABLE ${TABLE}`);
    await postgres.psql(DATABASE, `CREATE TABLE calls AS SELECT 'Where is my ticket?' AS text`);
    printLine('');
    printLine(`${DATABASE}.${TABLE}: ${before}. At ${dropped} somebody typed: DROP TABLE ${TABLE}`);
    await this.#untilRestorable(dropped);
    return { before, target: new Date(Date.parse(dropped) - 1000).toISOString() };
  }

  async #untilRestorable(time: string): Promise<void> {
    for (;;) {
      const quiet = { ...this.#place, signal: this.#signal, onLine: () => undefined };
      const { lines } = await runAgent(['wal', 'status'], quiet);
      const until = lines.map((line) => /^Restorable until +(\S+)/.exec(line)?.[1]).find(Boolean);
      if (until !== undefined && until > time)
        return printLine(`S3 can restore every second until ${until}.`);
      this.#signal.throwIfAborted();
    }
  }

  async recover(target: string): Promise<void> {
    await this.#agent('restore', '--to-time', target, '--data-dir', this.#dataDir);
  }

  get #dataDir(): string {
    return path.join(this.#folder, 'data');
  }

  async bringBack(before: string): Promise<boolean> {
    const { postgres, folder } = this.#stage;
    const watchdog = startWatchdog(this.#folder);
    watchdog.watch(this.#postmaster());
    try {
      const beside = { ...postgres.env, DB_HOST: this.#dataDir, DB_PORT: '5432' };
      const found = await runPsql(beside, DATABASE, CONTENTS);
      printLine('');
      printVerdict(found === before, `in the recovered cluster: ${found}`);
      const file = path.join(folder, `${TABLE}.sql`);
      printCommand(`pg_dump -h ${this.#dataDir} -t ${TABLE} ${DATABASE} | psql ${DATABASE}`);
      const args = ['-h', this.#dataDir, '-U', postgres.superuser, '-t', TABLE, '-f', file, DATABASE];
      await promisify(execFile)(path.join(postgres.binDir, 'pg_dump'), args, {
        env: { PATH: process.env['PATH'] },
      });
      await postgres.psql(DATABASE, `\\i ${file}`);
      const back = await postgres.psql(DATABASE, CONTENTS);
      printVerdict(back === before, `back in ${DATABASE}: ${back}; what came after it is there as well`);
      return found === before && back === before;
    } finally {
      await watchdog.end();
    }
  }

  #postmaster(): number {
    return Number(readFileSync(path.join(this.#dataDir, 'postmaster.pid'), 'utf8').split('\n')[0]);
  }

  /** A slot that nobody reads from would keep all WAL from now on. */
  async tidyUp(): Promise<void> {
    await this.#stage.postgres.psql(
      'postgres',
      'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active',
    );
  }
}
