import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { zstdDecompressSync } from 'node:zlib';
import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { parsePitrKey, type PitrObject } from '../../lib/domain/wal/keys.ts';
import { parseLsn, type Lsn } from '../../lib/domain/wal/lsn.ts';
import { parseSegmentName, segmentName, segmentStart } from '../../lib/domain/wal/segment.ts';
import { parseWalMetadata, type WalMetadata } from '../../lib/domain/wal/wal-metadata.ts';
import type { PostgresServer } from '../postgres-server.ts';
import type { RunningAgent } from './agent-process.ts';
import type { Stage } from './backup-fixture.ts';

const MIB = 1024 * 1024;
const SEGMENT = MIB;

/** A server whose WAL comes in segments of 1 MiB, and stays where it is to be compared with. */
export const WAL_SERVER = {
  initdbArgs: ['--wal-segsize=1'],
  settings: {
    wal_keep_size: '2GB',
    max_wal_size: '4GB',
    track_commit_timestamp: 'on',
    max_slot_wal_keep_size: '3GB',
    autovacuum: 'off',
  },
} as const;

const QUICK = { WAL_JOURNAL_SECONDS: '1', WAL_HEARTBEAT_SECONDS: '3600' } as const;

export interface HeldObject {
  readonly key: string;
  readonly parsed: PitrObject;
}

/** All that S3 holds for point-in-time recovery, whichever bucket it lies in. */
export async function heldObjects(stage: Stage): Promise<HeldObject[]> {
  const { client } = stage.ground;
  const found: HeldObject[] = [];
  let token: string | undefined;
  do {
    const page = await client.send(
      new ListObjectsV2Command({ Bucket: stage.bucket, ContinuationToken: token }),
    );
    for (const { Key } of page.Contents ?? []) {
      const key = Key!.slice(stage.prefix.length + 1);
      const parsed = parsePitrKey(key);
      if (parsed) found.push({ key, parsed });
    }
    token = page.NextContinuationToken;
  } while (token !== undefined);
  return found;
}

async function rawBytes(stage: Stage, key: string): Promise<Buffer> {
  const Key = `${stage.prefix}/${key}`;
  const { Body } = await stage.ground.client.send(new GetObjectCommand({ Bucket: stage.bucket, Key }));
  return zstdDecompressSync(Buffer.from(await Body!.transformToByteArray()));
}

export async function walMetadata(stage: Stage, key: string): Promise<WalMetadata> {
  const Key = `${stage.prefix}/${key}`;
  const { Metadata } = await stage.ground.client.send(new HeadObjectCommand({ Bucket: stage.bucket, Key }));
  return parseWalMetadata(Metadata ?? {}, key);
}

/**
 * How far S3 holds a timeline's WAL without a gap, from its first segment on. While several segments are under way there may be
 * a gap for a moment; pieces never overlap.
 */
export function heldTo(objects: readonly HeldObject[], timeline: number, segmentSize = SEGMENT): Lsn {
  const size = BigInt(segmentSize);
  const starts = segmentStarts(objects, timeline, segmentSize);
  let end = starts[0];
  for (const start of starts) if (start === end) end = start + size;
  const pieces = piecesOf(objects, timeline);
  end ??= pieces[0]?.from ?? 0n;
  for (const piece of pieces) {
    if (segmentStart(piece.from, segmentSize) !== segmentStart(end, segmentSize)) continue;
    if (piece.from < end) throw new Error(`WAL is held to ${end}, and a piece begins at ${piece.from}`);
    if (piece.from === end) end = piece.to;
  }
  return end;
}

/** Fails when there is a gap between the segments, or when pieces of one overlap. */
export function expectNoGap(objects: readonly HeldObject[], timeline: number, segmentSize = SEGMENT): void {
  const starts = segmentStarts(objects, timeline, segmentSize);
  const first = starts[0] ?? 0n;
  expect(starts).toEqual(starts.map((_start, index) => first + BigInt(index * segmentSize)));
  const pieces = piecesOf(objects, timeline);
  for (const [index, piece] of pieces.entries()) {
    const before = pieces[index - 1];
    const same = before && segmentStart(before.from, segmentSize) === segmentStart(piece.from, segmentSize);
    if (same) expect(piece.from).toBe(before.to);
    else expect(piece.from).toBe(segmentStart(piece.from, segmentSize));
  }
}

function segmentStarts(objects: readonly HeldObject[], timeline: number, segmentSize: number): Lsn[] {
  return objects
    .flatMap(({ parsed }) =>
      parsed.role === 'wal' && parsed.timeline === timeline
        ? [parseSegmentName(parsed.segment, segmentSize)!.start]
        : [],
    )
    .toSorted((one, other) => (one < other ? -1 : 1));
}

function piecesOf(objects: readonly HeldObject[], timeline: number): { from: Lsn; to: Lsn }[] {
  return objects
    .flatMap(({ parsed }) => (parsed.role === 'journal' && parsed.timeline === timeline ? [parsed] : []))
    .toSorted((one, other) => (one.from < other.from ? -1 : 1));
}

/** Every byte in S3 against the server's own files. @returns how many objects were compared */
export async function compareWithServer(
  stage: Stage,
  postgres: PostgresServer,
  segmentSize = SEGMENT,
): Promise<{ segments: number; partials: number; pieces: number }> {
  const counts = { segments: 0, partials: 0, pieces: 0 };
  const files = new Set(readdirSync(path.join(postgres.dataDir, 'pg_wal')));
  for (const { key, parsed } of await heldObjects(stage)) {
    if (parsed.role !== 'wal' && parsed.role !== 'partial-wal' && parsed.role !== 'journal') continue;
    const name = files.has(parsed.segment) ? parsed.segment : `${parsed.segment}.partial`;
    if (!files.has(name)) continue;
    const file = readFileSync(path.join(postgres.dataDir, 'pg_wal', name));
    const bytes = await rawBytes(stage, key);
    const { rawSize } = await walMetadata(stage, key);
    const from = parsed.role === 'journal' ? Number(parsed.from - segmentStart(parsed.from, segmentSize)) : 0;
    const same = bytes.equals(file.subarray(from, from + bytes.length));
    if (!same || bytes.length !== rawSize) throw new Error(`${key} differs from the server's ${name}`);
    if (parsed.role === 'wal') {
      if (bytes.length !== segmentSize) throw new Error(`${key} has ${bytes.length} bytes`);
      counts.segments += 1;
    } else if (parsed.role === 'journal') counts.pieces += 1;
    else counts.partials += 1;
  }
  return counts;
}

export async function flushLsn(postgres: PostgresServer): Promise<Lsn> {
  return parseLsn(await postgres.psql('postgres', 'SELECT pg_current_wal_flush_lsn()'));
}

/** Waits until S3 holds all that the server has written at this moment. */
export async function untilHeld(stage: Stage, lsn: Lsn, timeline = 1, segmentSize = SEGMENT): Promise<void> {
  for (const limit = Date.now() + 200_000; ;) {
    const held = heldTo(await heldObjects(stage), timeline, segmentSize);
    if (held >= lsn) return;
    if (Date.now() > limit) throw new Error(`S3 holds WAL to ${held}, not to ${lsn}`);
    await sleep(100);
  }
}

/** About 300 KiB of WAL a round; @returns ends it, after the round that is under way */
export function keepWriting(postgres: PostgresServer, table = 'load'): () => Promise<number> {
  const state = { over: false };
  const rounds = (async () => {
    await postgres.psql('postgres', `CREATE TABLE IF NOT EXISTS ${table} (n int, text text)`);
    let round = 0;
    while (!state.over) {
      round += 1;
      // The server may be restarted meanwhile.
      await writeRound(postgres, table, round).catch(() => sleep(50));
    }
    return round;
  })();
  rounds.catch(() => undefined);
  return async () => {
    state.over = true;
    return await rounds;
  };
}

export async function writeRound(postgres: PostgresServer, table: string, round: number): Promise<void> {
  await postgres.psql(
    'postgres',
    `INSERT INTO ${table} SELECT ${round}, md5(random()::text) || md5(random()::text) FROM generate_series(1, 2000)`,
  );
}

/** Writes so many segments' worth. */
export async function writeSegments(postgres: PostgresServer, count: number): Promise<void> {
  await postgres.psql('postgres', `CREATE TABLE IF NOT EXISTS bulk (n int, text text)`);
  await postgres.psql(
    'postgres',
    `INSERT INTO bulk SELECT n, repeat(md5(n::text), 25) FROM generate_series(1, ${count * 1150}) AS n`,
  );
}

export async function systemIdentifier(postgres: PostgresServer): Promise<string> {
  return await postgres.psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
}

const running = new Set<RunningAgent>();

/** What a test that failed left behind would keep jest from ending, and the slot in use. */
export async function endStreams(postgres: PostgresServer): Promise<void> {
  for (const agent of running) agent.kill('SIGKILL');
  await Promise.all([...running].map(({ ended }) => ended));
  await postgres.start();
  const drop = 'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active';
  await postgres.psql('postgres', drop);
}

/** Starts a command that is to be refused. @returns its exit status and its error's code */
export async function refusal(
  stage: Stage,
  env: Readonly<Record<string, string>> = {},
): Promise<{ status: number | null; code: string; message: string }> {
  const end = await stage.run(['wal', 'stream', '--json'], env);
  const { error } = end.json() as { error: { code: string; message: string } };
  return { status: end.status, code: error.code, message: error.message };
}

/** Starts `wal stream` and waits until it streams. */
export async function startStream(
  stage: Stage,
  env: Readonly<Record<string, string>> = {},
  ...args: readonly string[]
): Promise<RunningAgent> {
  const agent = stage.start(['wal', 'stream', ...args], { ...QUICK, ...env });
  running.add(agent);
  void agent.ended.then(() => running.delete(agent));
  await agent.untilPrinted(/Streaming WAL of cluster/);
  return agent;
}

export async function stopStream(agent: RunningAgent): Promise<string> {
  agent.kill('SIGTERM');
  const { status, printed } = await agent.ended;
  if (status !== 0) throw new Error(`wal stream ended with ${status}:\n${printed}`);
  return printed;
}

export async function slotOf(
  postgres: PostgresServer,
  name = 'lifeboat_hostmaster',
): Promise<{ restart: Lsn | undefined; status: string } | undefined> {
  const row = await postgres.psql(
    'postgres',
    `SELECT coalesce(restart_lsn::text, ''), wal_status FROM pg_replication_slots WHERE slot_name = '${name}'`,
  );
  if (row === '') return undefined;
  const [restart = '', status = ''] = row.split('|');
  return { restart: restart === '' ? undefined : parseLsn(restart), status };
}

export function nameOfSegment(lsn: Lsn, timeline = 1): string {
  return segmentName(timeline, lsn, SEGMENT);
}
