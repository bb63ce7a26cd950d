import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { serverUser } from '../../set-up/postgres-installation.ts';
import type { Command } from '../measured-run.ts';
import type { Stage } from '../stage.ts';

/** Where its repository lies: in a folder, or in the same S3 as ours. */
export type Place = 'folder' | 's3';

const STANZA = 'bench';

/**
 * pgBackRest (https://pgbackrest.org), as its user guide sets it up: asynchronous archiving, a process for each core, zstd.
 * It runs as the server's user, as archive_command does.
 */
export class PgBackRest {
  readonly #stage: Stage;
  readonly #folder: string;
  readonly #place: Place;

  /** @param folder of its own, that the server's user can reach */
  constructor(stage: Stage, folder: string, place: Place) {
    this.#stage = stage;
    this.#folder = path.join(folder, place);
    this.#place = place;
    const user = serverUser();
    for (const name of ['', 'repo', 'spool', 'lock', 'log']) {
      const made = path.join(this.#folder, name);
      mkdirSync(made, { recursive: true, mode: 0o755 });
      if (user) chownSync(made, user.uid, user.gid);
    }
    writeFileSync(this.#configuration, this.#settings(), { mode: 0o644 });
  }

  get #configuration(): string {
    return path.join(this.#folder, 'pgbackrest.conf');
  }

  #settings(): string {
    const { postgres } = this.#stage;
    const lines = [
      '[global]',
      ...this.#repository(),
      `spool-path=${path.join(this.#folder, 'spool')}`,
      `lock-path=${path.join(this.#folder, 'lock')}`,
      `log-path=${path.join(this.#folder, 'log')}`,
      'log-level-file=off',
      'log-level-console=warn',
      `process-max=${availableParallelism()}`,
      'compress-type=zst',
      'start-fast=y',
      'archive-async=y',
      'expire-auto=n',
      `[${STANZA}]`,
      `pg1-path=${postgres.dataDir}`,
      `pg1-port=${postgres.port}`,
      `pg1-socket-path=${postgres.socketDir}`,
      `pg1-user=${postgres.superuser}`,
      'pg1-database=postgres',
    ];
    return `${lines.join('\n')}\n`;
  }

  #repository(): string[] {
    if (this.#place === 'folder') return [`repo1-path=${path.join(this.#folder, 'repo')}`];
    const { env, bucket } = this.#stage.s3;
    const endpoint = new URL(env['AWS_ENDPOINT_URL_S3'] ?? '');
    return [
      'repo1-type=s3',
      'repo1-path=/pgbackrest',
      `repo1-s3-bucket=${bucket}`,
      `repo1-s3-endpoint=${endpoint.hostname}`,
      `repo1-storage-port=${endpoint.port}`,
      'repo1-storage-verify-tls=n',
      'repo1-s3-uri-style=path',
      `repo1-s3-region=${env['AWS_REGION']}`,
      `repo1-s3-key=${env['AWS_ACCESS_KEY_ID']}`,
      `repo1-s3-key-secret=${env['AWS_SECRET_ACCESS_KEY']}`,
    ];
  }

  /** What the server is to run. @param name `archive-push` or `archive-get` */
  archiveCommand(name: 'archive-push' | 'archive-get', level = 1): string {
    const target = name === 'archive-push' ? ' %p' : ' %f "%p"';
    return `pgbackrest --config=${this.#configuration} --stanza=${STANZA}${this.#compression(name, level)} ${name}${target}`;
  }

  #compression(name: string, level: number): string {
    return name === 'archive-get' ? '' : ` --compress-level=${level}`;
  }

  command(...args: string[]): Command {
    return {
      program: 'pgbackrest',
      args: [`--config=${this.#configuration}`, `--stanza=${STANZA}`, ...args],
      env: this.#stage.toolEnv,
      cwd: '/',
      user: serverUser(),
    };
  }

  /** Not measured. @throws LifeboatError BUG */
  run(...args: string[]): void {
    const { program, args: all, env, cwd, user } = this.command(...args);
    try {
      execFileSync(program, [...all], { env, cwd, ...user, stdio: ['ignore', 'pipe', 'pipe'] });
    } catch (error) {
      const said = (error as { stdout?: Buffer; stderr?: Buffer }).stdout?.toString() ?? '';
      throw new LifeboatError('BUG', `pgbackrest ${args.join(' ')} failed: ${said}`, {
        hint: 'See its message above.',
      });
    }
  }

  /** Bytes of the newest backup, from a repository in a folder. */
  newestBytes(): number {
    const backups = path.join(this.#folder, 'repo', 'backup', STANZA);
    const newest = readdirSync(backups)
      .filter((name) => /^\d{8}-\d{6}F$/.test(name))
      .toSorted()
      .at(-1);
    if (newest === undefined) throw new LifeboatError('BUG', `pgBackRest made no backup in ${backups}`);
    return bytesBelow(path.join(backups, newest));
  }
}

/** `2.45` */
export function pgBackRestVersion(): string {
  return execFileSync('pgbackrest', ['version'], { encoding: 'utf8' }).trim().replace(/^\D*/, '');
}

export function bytesBelow(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(path.join(entry.parentPath, entry.name)).size, 0);
}
