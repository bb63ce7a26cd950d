import type { Client } from 'pg';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatLsn, parseLsn } from '../../../lib/domain/wal/lsn.ts';
import type {
  BaseBackupRequest,
  BaseBackupStream,
  ReplicationServer,
  SlotPosition,
  SystemIdentity,
  WalRequest,
  WalStream,
} from '../ports/replication.ts';
import type { DatabaseSettings } from '../settings.ts';
import type { Environment } from '../environment.ts';
import { connectClient } from '../postgres/connection.ts';
import { startBaseBackup } from './base-backup.ts';
import { refusedConnection } from './refused-connection.ts';
import { Session } from './session.ts';
import { createSlot, dropSlot, readSlot } from './slots.ts';
import { SocketFeed } from './socket-feed.ts';
import { checkNotSynchronous } from './synchronous-standby.ts';
import { startWalStream } from './wal-stream.ts';

export interface ReplicationOptions {
  readonly applicationName?: string;
  /** Breaks whatever is going on; its reason is what is thrown then. */
  readonly interrupted?: AbortSignal;
  /** A WAL stream over which nothing is heard for so long is given up, by us and by the server. */
  readonly silenceMs?: number;
}

/** As .pgpass and pg_hba.conf call it; a server takes no notice of a replication connection's database. */
const DATABASE = 'replication';
const DEFAULT_SILENCE_MS = 60_000;

/**
 * @throws LifeboatError DB_CONNECT with the hint that fits (pg_hba.conf, max_wal_senders, wal_level), DB_RIGHTS for a role without
 *   REPLICATION
 */
export async function connectReplication(
  settings: DatabaseSettings,
  environment: Environment,
  options: ReplicationOptions = {},
): Promise<ReplicationServer> {
  const { applicationName = 'lifeboat_wal', silenceMs = DEFAULT_SILENCE_MS, interrupted } = options;
  interrupted?.throwIfAborted();
  // One for each try: pg may connect twice, with TLS and without.
  let feed = new SocketFeed();
  const stream = (): SocketFeed['plain'] => (feed = new SocketFeed()).plain;
  let client: Client;
  try {
    client = await connectClient(settings, environment, DATABASE, {
      applicationName,
      // Whatever postgresql.conf says, the server must not give us up sooner than we give it up; one connection may
      // have nothing to do but to own the slot of a base backup, for hours.
      replication: { options: `-c wal_sender_timeout=${silenceMs} -c idle_session_timeout=0`, stream },
    });
  } catch (error) {
    throw refusedConnection(error as LifeboatError, settings);
  }
  const session = new Session(client, feed);
  try {
    session.abortOn(interrupted);
    const versionNumber = Number(await showSetting(session, 'server_version_num'));
    return new PgReplicationServer({ session, versionNumber, applicationName, silenceMs });
  } catch (error) {
    await session.close();
    throw error;
  }
}

interface Parts {
  readonly session: Session;
  readonly versionNumber: number;
  readonly applicationName: string;
  readonly silenceMs: number;
}

class PgReplicationServer implements ReplicationServer {
  readonly versionNumber: number;
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.versionNumber = parts.versionNumber;
  }

  get #session(): Session {
    return this.#parts.session;
  }

  async identify(): Promise<SystemIdentity> {
    const [row] = await this.#session.rows('IDENTIFY_SYSTEM');
    const [systemIdentifier = '', timeline = '', flushLsn = ''] = (row ?? []).map(String);
    return { systemIdentifier, timeline: Number(timeline), flushLsn: parseLsn(flushLsn) };
  }

  async show(setting: string): Promise<string> {
    return await showSetting(this.#session, setting);
  }

  async timelineHistory(timeline: number): Promise<{ name: string; content: Buffer }> {
    const [row] = await this.#session.rows(`TIMELINE_HISTORY ${timeline}`);
    const [name, content] = row ?? [];
    if (name && content) return { name: name.toString(), content };
    throw new LifeboatError('BUG', `PostgreSQL answered TIMELINE_HISTORY ${timeline} with nothing`);
  }

  async createSlot(name: string, options: { readonly temporary: boolean }): Promise<void> {
    await createSlot(this.#session, name, options);
  }

  async readSlot(name: string): Promise<SlotPosition | undefined> {
    return await readSlot(this.#session, this.versionNumber, name);
  }

  async dropSlot(name: string): Promise<void> {
    await dropSlot(this.#session, name);
  }

  async baseBackup(request: BaseBackupRequest): Promise<BaseBackupStream> {
    return await startBaseBackup(this.#session, this.versionNumber, request);
  }

  async streamWal(request: WalRequest): Promise<WalStream> {
    const { session, applicationName, silenceMs } = this.#parts;
    checkNotSynchronous(await this.show('synchronous_standby_names'), applicationName);
    // PostgreSQL 14 insists on IDENTIFY_SYSTEM before START_REPLICATION.
    checkNotAhead(request, await this.identify());
    return await startWalStream(session, request, silenceMs);
  }

  async close(): Promise<void> {
    await this.#session.close();
  }
}

/** The server says so too, but only once the stream has begun. */
function checkNotAhead({ timeline, from }: WalRequest, server: SystemIdentity): void {
  if (timeline !== server.timeline || from <= server.flushLsn) return;
  throw new LifeboatError(
    'WAL_DIVERGED',
    `WAL from ${formatLsn(from)} on is wanted, but PostgreSQL has it only up to ${formatLsn(server.flushLsn)} (timeline ${timeline})`,
  );
}

const SETTING_NAME = /^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$/i;

async function showSetting(session: Session, name: string): Promise<string> {
  if (!SETTING_NAME.test(name)) {
    throw new LifeboatError('BUG', `${JSON.stringify(name)} is no name of a setting`);
  }
  const [row] = await session.rows(`SHOW ${name}`);
  return String(row?.[0] ?? '');
}
