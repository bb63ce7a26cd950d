import { LifeboatError } from '../errors.ts';
import { OBJECT_METADATA } from '../names.ts';
import { formatLsn, tryParseLsn, type Lsn } from './lsn.ts';
import { formatPgTime, tryParsePgTime } from './pg-time.ts';

/**
 * User metadata of WAL objects (`x-amz-meta-…`): segments, partial segments and journal pieces. From it alone the
 * latest restorable time is told, without a byte of WAL being fetched.
 */
export interface WalMetadata {
  readonly app: string;
  readonly runId: string;
  /** Bytes before compression. */
  readonly rawSize: number;
  /** Of the bytes before compression, hexadecimal: what tells an identical segment from another one. */
  readonly rawSha256: string;
  /** The last commit, in WAL order, whose record ends in these bytes; `undefined`: there is none. */
  readonly lastCommit: LastCommit | undefined;
}

export interface LastCommit {
  /** ISO 8601, UTC, microseconds. */
  readonly time: string;
  /** End of its record. */
  readonly lsn: Lsn;
}

const NAME = {
  lastCommitTime: 'lifeboat-last-commit-time',
  lastCommitLsn: 'lifeboat-last-commit-lsn',
  rawSize: 'lifeboat-raw-size',
  rawSha256: 'lifeboat-raw-sha256',
} as const;

/** As S3 keeps it with the object: names in lower case, values of ASCII. */
export function formatWalMetadata(metadata: WalMetadata): Record<string, string> {
  const { app, runId, rawSize, rawSha256, lastCommit } = metadata;
  return {
    [OBJECT_METADATA.app]: app,
    [OBJECT_METADATA.runId]: runId,
    [NAME.rawSize]: String(rawSize),
    [NAME.rawSha256]: rawSha256,
    ...(lastCommit && {
      [NAME.lastCommitTime]: lastCommit.time,
      [NAME.lastCommitLsn]: formatLsn(lastCommit.lsn),
    }),
  };
}

/**
 * @param where the object, named in errors
 * @throws LifeboatError CORRUPT when the object's metadata is not that of WAL
 */
export function parseWalMetadata(metadata: Readonly<Record<string, string>>, where: string): WalMetadata {
  const rawSize = metadata[NAME.rawSize] ?? '';
  const rawSha256 = metadata[NAME.rawSha256] ?? '';
  if (!/^\d{1,10}$/.test(rawSize)) throw refuse(where, NAME.rawSize, rawSize);
  if (!/^[0-9a-f]{64}$/.test(rawSha256)) throw refuse(where, NAME.rawSha256, rawSha256);
  return {
    app: metadata[OBJECT_METADATA.app] ?? '',
    runId: metadata[OBJECT_METADATA.runId] ?? '',
    rawSize: Number(rawSize),
    rawSha256,
    lastCommit: parseLastCommit(metadata, where),
  };
}

function parseLastCommit(metadata: Readonly<Record<string, string>>, where: string): LastCommit | undefined {
  const time = metadata[NAME.lastCommitTime];
  const position = metadata[NAME.lastCommitLsn];
  if (time === undefined && position === undefined) return undefined;
  const instant = time === undefined ? undefined : tryParsePgTime(time);
  if (instant === undefined) throw refuse(where, NAME.lastCommitTime, time);
  const lsn = position === undefined ? undefined : tryParseLsn(position);
  if (lsn === undefined) throw refuse(where, NAME.lastCommitLsn, position);
  return { time: formatPgTime(instant), lsn };
}

function refuse(where: string, name: string, value: string | undefined): LifeboatError {
  return new LifeboatError(
    'CORRUPT',
    `${where} is no WAL object: its metadata ${name} is ${JSON.stringify(value ?? '')}`,
  );
}
