import { execFile } from 'node:child_process';
import { rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { runAgent, type AgentRun } from './agent-run.ts';
import { loadProduction, MISHAPS, PRODUCTION, STAGING, wreckProduction } from './database.ts';
import { differences, takeFingerprint, totalRows, type Fingerprint } from './fingerprint.ts';
import { playRecovery } from './recovery.ts';
import {
  formatCount,
  formatMegabytes,
  formatSeconds,
  printCommand,
  printLine,
  printOutput,
  printStep,
  printTable,
  printVerdict,
} from './screen.ts';
import type { Stage } from './stage.ts';

const REFUSED = 3;
const AWKWARD_NAMES = ['"Order Items"', '"COPY"', '"Büro & Söhne"."semi;colon"', `"$(reboot) \`x\` ../'up'"`];
const SHOWN_DIFFERENCES = 8;

/** Plays the whole story on the stage. Returns whether everything came back as it was, and what it was. */
export async function playNarrative(
  stage: Stage,
  scale: number,
  signal: AbortSignal,
): Promise<{ good: boolean; before: Fingerprint }> {
  const story = new Story(stage, signal);
  await story.load(scale);
  await story.backUp();
  await story.lookAtTheBackup();
  await story.recoverToASecond();
  await story.wreck();
  await story.restoreToStaging();
  await story.restoreProduction();
  story.sum();
  return { good: story.good, before: story.before };
}

class Story {
  good = true;
  readonly #stage: Stage;
  readonly #signal: AbortSignal;
  readonly #runs = new Map<string, AgentRun>();
  #before: Fingerprint = { tables: new Map(), rest: new Map() };
  #databaseBytes = 0;
  #dumpBytes = 0;

  get before(): Fingerprint {
    return this.#before;
  }

  constructor(stage: Stage, signal: AbortSignal) {
    this.#stage = stage;
    this.#signal = signal;
  }

  async load(scale: number): Promise<void> {
    const { postgres, s3, folder } = this.#stage;
    printLine(
      `PostgreSQL ${await postgres.psql('postgres', 'SHOW server_version')} on port ${postgres.port}`,
    );
    printLine(`S3 at ${s3.endpoint}, bucket with versions and a lock of 30 days`);
    printLine(`files in ${folder}`);
    printStep(`A database: ${PRODUCTION}`);
    const begun = performance.now();
    this.#databaseBytes = await loadProduction(postgres, scale);
    const loaded = performance.now() - begun;
    this.#before = await takeFingerprint(postgres, PRODUCTION);
    const { tables } = this.#before;
    printLine(
      `${formatMegabytes(this.#databaseBytes)} on disk, ${formatCount(totalRows(this.#before))} rows in ` +
        `${tables.size} tables and materialized views, made in ${formatSeconds(loaded)}`,
    );
    printLine('with partitions, jsonb, large objects, roles and rights, and tables with names such as');
    printLine(AWKWARD_NAMES.join('  '));
  }

  async backUp(): Promise<void> {
    printStep('Back it up');
    await this.#agent('backup', ['backup']);
    for (const message of this.#stage.slack.takeMessages()) {
      printLine('');
      printLine('Slack got this message:');
      for (const line of message.split('\n')) printOutput(line);
    }
  }

  async lookAtTheBackup(): Promise<void> {
    printStep('Look at what there is now');
    const file = await this.#newestDump();
    this.#dumpBytes = (await stat(file)).size;
    printCommand(`gzip -t ${path.basename(file)}    (the ordinary gzip)`);
    await promisify(execFile)('gzip', ['-t', file]);
    printOutput('no complaint');
    await this.#agent('list', ['list']);
    await this.#agent('verify', ['verify']);
    await this.#agent('status', ['status']);
  }

  async recoverToASecond(): Promise<void> {
    this.good = (await playRecovery(this.#stage, this.#signal)) && this.good;
  }

  async wreck(): Promise<void> {
    printStep('One bad afternoon');
    await wreckProduction(this.#stage.postgres);
    for (const { sql, what } of MISHAPS) printLine(`${what}: ${sql}`);
    const lost = differences(this.#before, await takeFingerprint(this.#stage.postgres, PRODUCTION));
    printLine('');
    for (const line of lost.slice(0, SHOWN_DIFFERENCES)) printVerdict(false, line);
    if (lost.length > SHOWN_DIFFERENCES) printLine(`… and ${lost.length - SHOWN_DIFFERENCES} more`);
  }

  async restoreToStaging(): Promise<void> {
    printStep('Restore beside it, to look first');
    await this.#agent('restore to staging', ['restore', 'latest'], { DB_NAME: STAGING });
    await this.#compare(STAGING);
  }

  async restoreProduction(): Promise<void> {
    printStep('Restore over production');
    await this.#agent('refusal', ['restore', 'latest'], {}, REFUSED);
    printLine(
      'It holds data, so that needs a clear word. Meanwhile the host’s own backups are gone too, so it comes from S3:',
    );
    await rm(this.#stage.settings['BACKUP_DIR'] ?? '', { recursive: true });
    await this.#agent('restore over production', ['restore', 'latest', '--replace']);
    await this.#compare(PRODUCTION);
    const kept = await this.#stage.postgres.psql(
      'postgres',
      `SELECT datname FROM pg_database WHERE datname LIKE '${PRODUCTION}\\_before\\_%'`,
    );
    printVerdict(
      kept !== '',
      kept === '' ? 'the wrecked database was not kept' : `the wrecked one is kept as ${kept}`,
    );
    this.good &&= kept !== '';
  }

  async #agent(
    name: string,
    args: readonly string[],
    settings: Readonly<Record<string, string>> = {},
    expected = 0,
  ): Promise<void> {
    const { folder } = this.#stage;
    const typed = [...Object.entries(settings).map(([key, value]) => `${key}=${value}`), 'lifeboat', ...args];
    printCommand(typed.join(' '));
    // Nothing of the person's own: neither their AWS account nor their .env file has any business here.
    const env = { PATH: process.env['PATH'], HOME: folder, ...this.#stage.settings, ...settings };
    const run = await runAgent(args, { env, cwd: folder, signal: this.#signal, onLine: printOutput });
    this.#runs.set(name, run);
    if (run.status === expected) return;
    throw new LifeboatError(
      'BUG',
      `lifeboat ${args.join(' ')} ended with status ${run.status} instead of ${expected}.`,
    );
  }

  async #compare(database: string): Promise<void> {
    const after = await takeFingerprint(this.#stage.postgres, database);
    const differing = differences(this.#before, after);
    const rows = formatCount(totalRows(after));
    printLine('');
    if (differing.length === 0) {
      printVerdict(
        true,
        `${database}: every row of ${after.tables.size} tables and materialized views is back (${rows} rows; counts and checksums equal)`,
      );
      printVerdict(true, `the same: ${[...after.rest.keys()].join(', ')}`);
    }
    for (const line of differing) printVerdict(false, `${database}: ${line}`);
    this.good &&= differing.length === 0;
  }

  /** From the agent's own words, as a person would find it. */
  async #newestDump(): Promise<string> {
    const lines = this.#runs.get('backup')?.lines ?? [];
    const file = lines.map((line) => /Backup created: (\S.*)$/.exec(line)?.[1]).find(Boolean);
    if (file) return file;
    throw new LifeboatError('BUG', 'The backup did not say which file it made.');
  }

  sum(): void {
    printStep('What was measured');
    const rate = (name: string): string => {
      const run = this.#runs.get(name);
      if (!run) return '';
      return `${Math.round(this.#databaseBytes / 1e3 / run.milliseconds)} MB/s`;
    };
    const row = (name: string): string[] => {
      const run = this.#runs.get(name);
      if (!run) return [name];
      return [name, formatSeconds(run.milliseconds), rate(name), formatMegabytes(run.peakBytes)];
    };
    printTable([
      ['', 'time', 'of database', 'agent’s peak memory'],
      row('backup'),
      row('verify'),
      row('restore to staging'),
      row('restore over production'),
    ]);
    printLine('');
    const ratio = (this.#databaseBytes / this.#dumpBytes).toFixed(1);
    printLine(
      `${formatMegabytes(this.#databaseBytes)} of database became a file of ${formatMegabytes(this.#dumpBytes)} (${ratio} to 1).`,
    );
    const recovery = this.#runs.get('restore over production')?.milliseconds ?? 0;
    printLine(`From the command to a whole production database again (RTO): ${formatSeconds(recovery)}.`);
    printVerdict(
      this.good,
      this.good ? 'Everything came back exactly as it was.' : 'Not everything came back: see above.',
    );
  }
}
