import { createHash } from 'node:crypto';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { formatBaseManifest, type BaseManifest } from '../../lib/domain/base/base-manifest.ts';
import {
  baseManifestKey,
  historyKey,
  holeKey,
  journalKey,
  partialWalKey,
  volumeKey,
  walKey,
  type WalSeries,
} from '../../lib/domain/wal/keys.ts';
import { backupHistoryKey } from '../../lib/domain/wal/backup-history.ts';
import { formatHoleRecord } from '../../lib/domain/wal/hole.ts';
import { formatLsn } from '../../lib/domain/wal/lsn.ts';
import { formatPgTime, pgTimeOfDate } from '../../lib/domain/wal/pg-time.ts';
import { formatVerdict, verdictKey, type Verdict } from '../../lib/domain/wal/verdicts.ts';
import { formatWalMetadata } from '../../lib/domain/wal/wal-metadata.ts';
import { at, incrementalManifest } from '../domain/base/manifests.ts';
import { lsnOf, nameOf, SERIES } from '../domain/wal/wal-bucket.ts';
import type { Stage } from './stage.ts';

const MIB = 1024 * 1024;

/** Writes into a stage's buckets what the agent of a cluster with point-in-time recovery writes, at the stage's time. */
export class RecoveryBucket {
  readonly #stage: Stage;
  readonly #prefix: string;
  readonly series: WalSeries;

  constructor(stage: Stage, prefix = 'database', series = SERIES) {
    this.#stage = stage;
    this.#prefix = prefix;
    this.series = series;
  }

  async #put(
    bucket: 'backups' | 'state',
    key: string,
    body: string | Uint8Array,
    metadata = {},
  ): Promise<string> {
    const Key = `${this.#prefix}/${key}`;
    await this.#stage.s3Client.send(
      new PutObjectCommand({ Bucket: bucket, Key, Body: body, Metadata: metadata }),
    );
    return Key;
  }

  #walMetadata(end: bigint, commit = true): Record<string, string> {
    const time = formatPgTime(pgTimeOfDate(this.#stage.clock.now()));
    return formatWalMetadata({
      app: this.series.app,
      runId: 'r',
      rawSize: 16 * MIB,
      rawSha256: createHash('sha256').update(`${end}`).digest('hex'),
      lastCommit: commit ? { time, lsn: end - 8n } : undefined,
    });
  }

  async segment(number: number, options: { timeline?: number; commit?: boolean } = {}): Promise<string> {
    const { timeline = 1, commit = true } = options;
    const key = walKey(this.series, timeline, nameOf(timeline, number));
    return await this.#put('backups', key, new Uint8Array(64), this.#walMetadata(lsnOf(number + 1), commit));
  }

  async partial(timeline: number, number: number): Promise<string> {
    const key = partialWalKey(this.series, timeline, nameOf(timeline, number));
    return await this.#put('backups', key, new Uint8Array(64), this.#walMetadata(lsnOf(number, 8 * MIB)));
  }

  async history(timeline: number, parent: number, left: bigint): Promise<string> {
    const text = `${parent}\t${formatLsn(left)}\tno recovery target specified\n`;
    return await this.#put('backups', historyKey(this.series, timeline), text);
  }

  /** Bytes of an open segment, in MiB. */
  async piece(number: number, from: number, to: number, options: { commit?: boolean } = {}): Promise<string> {
    const [first, last] = [lsnOf(number, from * MIB), lsnOf(number, to * MIB)];
    const key = journalKey(this.series, 1, nameOf(1, number), first, last);
    return await this.#put('state', key, new Uint8Array(32), this.#walMetadata(last, options.commit ?? true));
  }

  async hole(from: number, to: number): Promise<string> {
    const record = {
      schemaVersion: 1 as const,
      kind: 'hole' as const,
      ...this.series,
      timeline: 1,
      from: formatLsn(lsnOf(from)),
      to: formatLsn(lsnOf(to)),
      since: null,
      recordedAt: this.#stage.clock.now().toISOString(),
      runId: 'r',
      reason: 'the slot was lost',
    };
    return await this.#put(
      'state',
      holeKey(this.series, 1, lsnOf(from), lsnOf(to)),
      formatHoleRecord(record),
    );
  }

  /** @param object a base backup's label, or the number of a segment of timeline 1 */
  async verdict(object: string | number, found: Verdict['found']): Promise<string> {
    const verdict: Verdict = {
      schemaVersion: 1,
      kind: 'verdict',
      ...this.series,
      object: typeof object === 'number' ? nameOf(1, object) : object,
      found,
      at: this.#stage.clock.now().toISOString(),
      runId: 'r',
      why: null,
    };
    return await this.#put('state', verdictKey(verdict), formatVerdict(verdict));
  }

  async backupHistory(number: number): Promise<string> {
    const name = `${nameOf(1, number)}.00000028.backup`;
    return await this.#put('backups', backupHistoryKey(this.series, 1, name), 'START WAL LOCATION\n');
  }

  /** Finished now, begun within the segment `number` and ended in it. @returns the keys of its objects */
  async base(number: number, options: { parent?: BaseManifest; timeline?: number } = {}): Promise<MadeBase> {
    const { parent, timeline = 1 } = options;
    const now = this.#stage.clock.now();
    const ends = {
      startLsn: formatLsn(lsnOf(number, 40)),
      stopLsn: formatLsn(lsnOf(number, 312)),
      startTimeline: timeline,
      stopTimeline: timeline,
      finishedAt: now.toISOString(),
      stopTime: formatPgTime(pgTimeOfDate(now)),
    };
    const full = at(new Date(Math.floor(now.getTime() / 1000) * 1000 - 600_000), ends);
    const { label, startedAt } = full;
    const manifest = smaller(parent ? incrementalManifest(parent, { ...ends, label, startedAt }) : full);
    const keys: string[] = [];
    for (const { key, size } of [...manifest.volumes, manifest.backupManifest!])
      keys.push(await this.#put('backups', volumeKey(this.series, label, key), new Uint8Array(size)));
    const key = baseManifestKey(this.series, label);
    keys.push(await this.#put('backups', key, formatBaseManifest(manifest)));
    return { manifest, keys };
  }
}

export interface MadeBase {
  readonly manifest: BaseManifest;
  readonly keys: readonly string[];
}

/** A thirty-thousandth: these bytes are really stored. */
function smaller(manifest: BaseManifest): BaseManifest {
  return {
    ...manifest,
    volumes: manifest.volumes.map((volume) => ({ ...volume, size: 100, frameSizes: [60, 40] })),
    backupManifest: { ...manifest.backupManifest!, size: 70 },
  };
}
