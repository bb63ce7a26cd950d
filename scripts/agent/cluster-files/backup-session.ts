import type { Client } from 'pg';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { majorOf } from '../../../lib/domain/server-version.ts';
import { parseLsn, type Lsn } from '../../../lib/domain/wal/lsn.ts';
import { parseTimeline } from '../../../lib/domain/wal/segment.ts';
import type { Environment } from '../environment.ts';
import { cancel } from '../replication/cancel.ts';
import { closeClient, connectClient } from '../postgres/connection.ts';
import type { DatabaseSettings } from '../settings.ts';

/** pg_start_backup and pg_stop_backup up to 14. */
const NEW_NAMES_SINCE = 15;

export interface BackupStart {
  readonly lsn: Lsn;
  readonly timeline: number;
}

export interface BackupStop {
  readonly lsn: Lsn;
  /** The file backup_label, without which the files are no backup. */
  readonly label: string;
}

/** Of one tablespace, as PostgreSQL counts; 0 where this role may not ask. */
export interface TablespaceSize {
  readonly oid: number;
  readonly name: string;
  readonly bytes: number;
}

/**
 * The session between pg_backup_start and pg_backup_stop (https://www.postgresql.org/docs/current/continuous-archiving.html#BACKUP-LOWLEVEL-BASE-BACKUP).
 * The server gives the backup up when the session ends. Errors of every call: DB_LOST once the session is gone, DB_RIGHTS, DB_QUERY,
 * and the reason of the signal that it was opened with.
 */
export class BackupSession {
  readonly #client: Client;
  readonly #major: number;
  #gone: Error | undefined;
  #busy = false;
  #cancelled: Promise<void> | undefined;

  private constructor(client: Client, major: number) {
    this.#client = client;
    this.#major = major;
    client.on('error', (error) => this.#lose(error.message));
    client.on('end', () => this.#lose('the server closed it'));
  }

  /** @throws LifeboatError DB_CONNECT */
  static async open(
    settings: DatabaseSettings & { readonly name: string },
    environment: Environment,
    { versionNumber, interrupted }: { readonly versionNumber: number; readonly interrupted: AbortSignal },
  ): Promise<BackupSession> {
    interrupted.throwIfAborted();
    const client = await connectClient(settings, environment, settings.name, {
      applicationName: 'lifeboat_base',
    });
    const session = new BackupSession(client, majorOf(versionNumber));
    try {
      session.#abortOn(interrupted);
      // It is silent for as long as the files are read.
      await session.rows('SET idle_session_timeout = 0');
      return session;
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  /** As whoever answered calls it: through a pooler, another than the server's own. */
  get processId(): number {
    return (this.#client as unknown as { processID: number }).processID;
  }

  /** @throws why the session is gone */
  requireAlive(): void {
    if (this.#gone) throw this.#gone;
  }

  /** Waits for a checkpoint, which is asked for at once. */
  async start(label: string): Promise<BackupStart> {
    const call =
      this.#major < NEW_NAMES_SINCE ? 'pg_start_backup($1, true, false)' : 'pg_backup_start($1, true)';
    const [row] = await this.rows<{ lsn: string; segment: string; pid: number }>(
      `SELECT lsn::text, pg_walfile_name(lsn) AS segment, pg_backend_pid() AS pid FROM ${call} AS lsn`,
      [label],
    );
    this.#requireOwn(row!.pid);
    return { lsn: parseLsn(row!.lsn), timeline: parseTimeline(row!.segment.slice(0, 8))! };
  }

  /** Does not wait for archive_command. What the WAL of the backup needs is flushed on return. */
  async stop(): Promise<BackupStop> {
    const call = this.#major < NEW_NAMES_SINCE ? 'pg_stop_backup(false, false)' : 'pg_backup_stop(false)';
    const [row] = await this.rows<{ lsn: string; label: string; pid: number }>(
      `SELECT lsn::text, labelfile AS label, pg_backend_pid() AS pid FROM ${call}`,
    );
    this.#requireOwn(row!.pid);
    const lsn = parseLsn(row!.lsn);
    await this.#untilFlushed(lsn);
    return { lsn, label: row!.label };
  }

  #requireOwn(pid: number): void {
    if (pid !== this.processId) throw lost('another session answered: is there a pooler between?');
  }

  /** The end is followed by a switch to the next segment, which flushes; this only makes sure. */
  async #untilFlushed(lsn: Lsn): Promise<void> {
    for (;;) {
      const [row] = await this.rows<{ flushed: string }>(
        'SELECT pg_current_wal_flush_lsn()::text AS flushed FROM pg_sleep(0.01)',
      );
      if (parseLsn(row!.flushed) >= lsn) return;
    }
  }

  async tablespaceSizes(): Promise<TablespaceSize[]> {
    const rows = await this.rows<{ oid: string; name: string; bytes: string | null }>(
      `SELECT oid::text, spcname AS name,
              CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') OR has_tablespace_privilege(oid, 'CREATE')
                   THEN pg_tablespace_size(oid)::text END AS bytes
         FROM pg_tablespace`,
    );
    return rows.map(({ oid, name, bytes }) => ({ oid: Number(oid), name, bytes: Number(bytes ?? 0) }));
  }

  async rows<Row extends object>(sql: string, values: readonly unknown[] = []): Promise<Row[]> {
    this.requireAlive();
    this.#busy = true;
    try {
      return (await this.#client.query(sql, [...values])).rows as Row[];
    } catch (cause) {
      throw this.#gone ?? this.#refused(cause as { code?: string; message: string });
    } finally {
      this.#busy = false;
    }
  }

  #refused(cause: { code?: string; message: string }): Error {
    // Without a SQLSTATE it is the connection that failed; these end the session: admin_shutdown and its like, connection exceptions.
    if (cause.code === undefined || /^(?:57P|08)/.test(cause.code)) return this.#lose(cause.message);
    const code = cause.code === '42501' ? 'DB_RIGHTS' : 'DB_QUERY';
    return new LifeboatError(code, `PostgreSQL refused a statement of the backup: ${cause.message}`, {
      cause,
    });
  }

  #lose(reason: string): Error {
    this.#gone ??= lost(reason);
    return this.#gone;
  }

  #abortOn(signal: AbortSignal): void {
    const abort = (): void => this.abort(signal.reason as Error);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    this.#client.once('end', () => signal.removeEventListener('abort', abort));
  }

  /** Gives the session up at once, and with it the backup; a checkpoint that it waits for is not waited for any longer. */
  abort(reason: Error): void {
    if (this.#gone) return;
    this.#gone = reason;
    if (this.#busy) this.#cancelled ??= cancel(this.#client);
  }

  /** Never throws. */
  async close(): Promise<void> {
    this.#gone ??= lost('it was closed');
    await this.#cancelled;
    await closeClient(this.#client);
  }
}

function lost(reason: string): LifeboatError {
  return new LifeboatError('DB_LOST', `The backup’s session on PostgreSQL was lost: ${reason}`);
}
