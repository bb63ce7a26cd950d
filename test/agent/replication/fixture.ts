import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type {
  BackupEnd,
  BackupTablespace,
  BaseBackupRequest,
  ReplicationServer,
  WalMessage,
  WalStream,
} from '../../../scripts/agent/ports/replication.ts';
import { connectReplication, type ReplicationOptions } from '../../../scripts/agent/replication/connect.ts';
import type { DatabaseSettings } from '../../../scripts/agent/settings.ts';
import type { PostgresServer } from '../../postgres-server.ts';

export function settingsOf(
  server: PostgresServer,
  changes: Partial<DatabaseSettings> = {},
): DatabaseSettings {
  const { host, port, superuser: user, password } = server;
  return { host, port, user, password, name: 'postgres', binDir: undefined, ...changes };
}

/** As the agent does on its host: over the Unix socket. */
export function connectTo(server: PostgresServer, options?: ReplicationOptions): Promise<ReplicationServer> {
  return connectReplication(settingsOf(server, { host: server.socketDir }), {}, options);
}

export async function withReplication<T>(
  server: PostgresServer,
  use: (replication: ReplicationServer) => Promise<T>,
): Promise<T> {
  const replication = await connectTo(server);
  try {
    return await use(replication);
  } finally {
    await replication.close();
  }
}

export async function query(server: PostgresServer, sql: string): Promise<string> {
  return await server.psql('postgres', sql);
}

/** @throws what the last try threw */
export async function eventually<T>(attempt: () => Promise<T> | T): Promise<T> {
  for (const limit = Date.now() + 200_000; ;) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > limit) throw error;
      await sleep(50);
    }
  }
}

export async function noWalSender(server: PostgresServer): Promise<void> {
  await eventually(async () => {
    const senders = await query(
      server,
      `SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'`,
    );
    if (senders !== '0') throw new Error(`${senders} walsenders are left`);
  });
}

export const FULL: BaseBackupRequest = { label: 'test', checkpoint: 'fast', wal: true, manifest: true };

/** A base backup on disk: a tar for each tablespace. */
export interface StoredBackup {
  readonly folder: string;
  /** `null`: the main one */
  readonly tars: ReadonlyMap<number | null, string>;
  readonly tablespaces: readonly BackupTablespace[];
  readonly manifest: string;
  readonly end: BackupEnd;
  readonly order: readonly (number | null)[];
  readonly progress: readonly number[];
}

/** Reads each piece only after the next one was asked for: as late as its bytes are promised to be valid. */
export async function takeBackup(
  replication: Pick<ReplicationServer, 'baseBackup'>,
  request: BaseBackupRequest,
): Promise<StoredBackup> {
  const folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-base-'));
  const running = await replication.baseBackup(request);
  const tars = new Map<number | null, string>();
  const manifest = path.join(folder, 'backup_manifest');
  const progress: number[] = [];
  let file: number | undefined;
  let write = (): void => undefined;
  for await (const piece of running.pieces()) {
    write();
    write = () => undefined;
    if (piece.kind === 'progress') progress.push(piece.doneBytes);
    if (piece.kind === 'archive') {
      if (file !== undefined) closeSync(file);
      const tar = path.join(folder, `${piece.oid ?? 'base'}.tar`);
      tars.set(piece.oid, tar);
      file = openSync(tar, 'w');
    }
    if (piece.kind === 'data') write = () => void writeSync(file!, piece.bytes);
    if (piece.kind === 'manifest') write = () => appendFileSync(manifest, piece.bytes);
  }
  write();
  if (file !== undefined) closeSync(file);
  const end = await running.finished();
  const { tablespaces } = running;
  return { folder, tars, tablespaces, manifest, end, order: [...tars.keys()], progress };
}

/** Unpacks it in place of a stopped server's data directory, its tablespaces beside. */
export function unpackBackup(backup: StoredBackup, target: PostgresServer): Map<number, string> {
  const { dataDir } = target;
  const { uid, gid } = statSync(dataDir);
  const places = new Map<number, string>();
  for (const name of readdirSync(dataDir)) rmSync(path.join(dataDir, name), { recursive: true });
  for (const [oid, tar] of backup.tars) {
    const place = oid === null ? dataDir : path.join(path.dirname(dataDir), `tablespace-${oid}`);
    if (oid !== null) {
      mkdirSync(place, { mode: 0o700 });
      places.set(oid, place);
    }
    execFileSync('tar', ['--extract', '--no-same-owner', '--file', tar, '--directory', place]);
    execFileSync('chown', ['-R', `${uid}:${gid}`, place]);
  }
  return places;
}

/** The server makes its links from this file; as it came it leads to the tablespaces of the source. */
export function relocateTablespaces(target: PostgresServer, places: ReadonlyMap<number, string>): void {
  const map = [...places].map(([oid, place]) => `${oid} ${place}\n`).join('');
  writeFileSync(path.join(target.dataDir, 'tablespace_map'), map);
}

interface ManifestFile {
  readonly Path: string;
  readonly Size: number;
  readonly Checksum: string;
}

/** Holds every unpacked file against the backup's manifest. @returns what differs */
export function compareWithManifest(
  backup: StoredBackup,
  dataDir: string,
  places: ReadonlyMap<number, string>,
): string[] {
  const manifest = JSON.parse(readFileSync(backup.manifest, 'utf8')) as { Files: ManifestFile[] };
  return manifest.Files.filter(({ Path, Size, Checksum }) => {
    const [, oid, rest] = /^pg_tblspc\/(\d+)\/(.*)$/.exec(Path) ?? [];
    const file = oid ? path.join(places.get(Number(oid)) ?? '', rest ?? '') : path.join(dataDir, Path);
    const bytes = readFileSync(file);
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32LE(crc32c(bytes));
    return bytes.length !== Size || checksum.toString('hex') !== Checksum;
  }).map((file) => file.Path);
}

const CRC32C_TABLE = Int32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (let index = 0; index < bytes.length; index++) {
    crc = CRC32C_TABLE[(crc ^ bytes[index]!) & 0xff]! ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** WAL as it arrives, until it is there up to `to`. */
export async function collectWal(
  messages: AsyncIterator<WalMessage>,
  from: bigint,
  to: bigint,
): Promise<Buffer> {
  const stretches: Buffer[] = [];
  for (let end = from; end < to;) {
    const { value, done } = await messages.next();
    if (done) throw new Error('the stream ended');
    const found = value as WalMessage;
    if (found.kind !== 'wal') continue;
    expect(found.start).toBe(end);
    stretches.push(Buffer.from(found.bytes));
    end += BigInt(found.bytes.length);
  }
  return Buffer.concat(stretches);
}

export function iterate(stream: WalStream): AsyncIterator<WalMessage> {
  return stream.messages()[Symbol.asyncIterator]();
}
