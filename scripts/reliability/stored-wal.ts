import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { zstdDecompressSync } from 'node:zlib';
import { GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { parsePitrKey, type PitrObject } from '../../lib/domain/wal/keys.ts';
import { formatLsn, parseLsn, type Lsn } from '../../lib/domain/wal/lsn.ts';
import { parseSegmentName, segmentStart } from '../../lib/domain/wal/segment.ts';
import type { PostgresServer } from '../set-up/postgres-server.ts';
import type { Stage } from './stage.ts';

/** What lies in the buckets, read without the agent: it is not to be its own witness. */

interface StoredObject {
  readonly bucket: string;
  readonly key: string;
  readonly object: PitrObject;
}

async function listStored({ client, buckets, prefix }: Stage): Promise<StoredObject[]> {
  const found: StoredObject[] = [];
  for (const bucket of buckets) {
    let token: string | undefined;
    do {
      const page = await client.send(
        new ListObjectsV2Command({ Bucket: bucket, Prefix: `${prefix}/`, ContinuationToken: token }),
      );
      for (const { Key = '' } of page.Contents ?? []) {
        const object = parsePitrKey(Key.slice(prefix.length + 1));
        if (object) found.push({ bucket, key: Key, object });
      }
      token = page.NextContinuationToken;
    } while (token !== undefined);
  }
  return found;
}

/** How far the WAL of timeline 1 is held without a gap, from its first segment on. */
function heldTo(stored: readonly StoredObject[], segmentSize: number): Lsn {
  const size = BigInt(segmentSize);
  const starts = stored
    .flatMap(({ object }) =>
      object.role === 'wal' ? [parseSegmentName(object.segment, segmentSize)!.start] : [],
    )
    .toSorted(ascending);
  const pieces = stored
    .flatMap(({ object }) => (object.role === 'journal' ? [object] : []))
    .toSorted((one, other) => ascending(one.from, other.from));
  let end = starts[0] ?? pieces[0]?.from ?? 0n;
  for (const start of starts) if (start === end) end = start + size;
  for (const { from, to } of pieces) if (from === end) end = to;
  return end;
}

const ascending = (one: Lsn, other: Lsn): number => (one < other ? -1 : Number(one > other));

async function segmentSizeOf(postgres: PostgresServer): Promise<number> {
  return Number(
    await postgres.psql('postgres', `SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'`),
  );
}

/** Waits until S3 holds what the server has written at this moment. @returns how many ms that took @throws LifeboatError BUG when it never does */
export async function untilHeld(stage: Stage, signal: AbortSignal, limitMs = 300_000): Promise<number> {
  const { postgres } = stage;
  const segmentSize = await segmentSizeOf(postgres);
  const goal = parseLsn(await postgres.psql('postgres', 'SELECT pg_current_wal_flush_lsn()'));
  const began = performance.now();
  for (;;) {
    const held = heldTo(await listStored(stage), segmentSize);
    const took = performance.now() - began;
    if (held >= goal) return took;
    if (took > limitMs) {
      const seconds = Math.round(took / 1000);
      const [now, then] = [formatLsn(held), formatLsn(goal)];
      throw new LifeboatError(
        'BUG',
        `After ${seconds} s S3 holds WAL to ${now} without a gap, not to ${then}`,
      );
    }
    await sleep(200, undefined, { signal });
  }
}

export interface Comparison {
  readonly segments: number;
  readonly pieces: number;
  readonly bytes: number;
  readonly problems: readonly string[];
}

/** Every byte in S3 against the server's own files, of which it must have kept all. */
export async function compareWithServer(stage: Stage): Promise<Comparison> {
  const folder = path.join(stage.postgres.dataDir, 'pg_wal');
  const segmentSize = await segmentSizeOf(stage.postgres);
  const files = new Set(readdirSync(folder));
  const counts = { segments: 0, pieces: 0, bytes: 0 };
  const problems: string[] = [];
  const stored = await listStored(stage);
  for (const { bucket, key, object } of stored) {
    if (object.role === 'hole') problems.push(`a hole is on record: ${key}`);
    if (object.role !== 'wal' && object.role !== 'journal') continue;
    if (!files.has(object.segment)) {
      problems.push(`the server has no ${object.segment} to compare ${key} with`);
      continue;
    }
    const raw = await readRaw(stage, bucket, key);
    const from = object.role === 'journal' ? Number(object.from - segmentStart(object.from, segmentSize)) : 0;
    const size = object.role === 'journal' ? Number(object.to - object.from) : segmentSize;
    const own = readFileSync(path.join(folder, object.segment)).subarray(from, from + size);
    if (!raw.equals(own)) problems.push(`${key} differs from the server's ${object.segment}`);
    counts[object.role === 'wal' ? 'segments' : 'pieces'] += 1;
    counts.bytes += raw.length;
  }
  return { ...counts, problems };
}

async function readRaw({ client }: Stage, bucket: string, key: string): Promise<Buffer> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
  return zstdDecompressSync(Buffer.from(await Body!.transformToByteArray()));
}
