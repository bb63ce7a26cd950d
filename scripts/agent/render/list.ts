import { formatBytes, formatTime } from '../../../lib/domain/quantities.ts';
import type { ListedBackup, ListedBase, ListedCopy, ListResult } from '../commands/catalog/list.ts';
import { renderErrorAsJson } from './error.ts';
import { renderTable } from './table.ts';

const WHERE = { local: 'local', s3: 'S3' } as const;

export function renderList(app: string, { backups, bases, failure }: ListResult, now: Date): string[] {
  if (backups.length === 0 && bases.length === 0 && !failure)
    return [`No backups of ${app} yet. Make one: lifeboat backup`];
  if (bases.length === 0) return renderDumps(backups, now);
  return [...(backups.length === 0 ? [] : [...renderDumps(backups, now), '']), ...renderBases(bases)];
}

function renderDumps(backups: ListResult['backups'], now: Date): string[] {
  return renderTable(
    ['ID', 'TIME (UTC)', 'SIZE', 'FORMAT', 'WHERE', 'VERIFIED', 'EXPIRES'],
    backups.flatMap((backup) =>
      backup.copies.map((copy, index) => [
        ...renderRow(backup, copy, index === 0),
        describeExpiry(copy, now),
      ]),
    ),
  );
}

function renderBases(bases: ListResult['bases']): string[] {
  return renderTable(
    ['BASE BACKUP', 'TIME (UTC)', 'SIZE', 'KIND', 'WHERE', 'STATE'],
    bases.map((base) => [
      base.label,
      formatTime(base.time),
      formatBytes(base.bytes),
      describeKind(base),
      WHERE[base.store],
      describeBaseState(base),
    ]),
  );
}

function describeKind({ type, chain }: ListedBase): string {
  return type === 'incremental' ? `incremental on ${chain.at(-1) ?? ''}` : (type ?? '');
}

function describeBaseState({ state, label, detail }: ListedBase): string {
  if (state === 'usable') return '✅';
  if (state === 'unfinished') return '⚠️ unfinished, no backup';
  return `❌ ${state}: ${shorten(label, detail ?? '')}`;
}

function renderRow(backup: ListedBackup, copy: ListedCopy, first: boolean): string[] {
  const { encoding, bytes } = backup;
  return [
    first ? backup.id : '',
    first ? formatTime(backup.time) : '',
    first && bytes !== undefined ? formatBytes(bytes) : '',
    first && encoding ? `${encoding.format} ${encoding.compression}` : '',
    WHERE[copy.store],
    describeState(backup.id, copy),
  ];
}

/** Past its day a copy is there because nothing has removed it yet, or because it is pinned: nobody can promise a day. */
function describeExpiry({ expiresAt, state }: ListedCopy, now: Date): string {
  if (expiresAt) return expiresAt > now ? formatTime(expiresAt).slice(0, 10) : 'due';
  return state === 'unfinished' ? '' : 'kept';
}

function describeState(id: string, { state, detail, verifiedAt }: ListedCopy): string {
  switch (state) {
    case 'complete':
      return `✅ ${verifiedAt ? formatTime(verifiedAt).slice(0, 16) : 'yes'}`;
    case 'without manifest':
      return 'no manifest';
    case 'unfinished':
      return '⚠️ unfinished, no backup';
    case 'damaged':
    case 'unreadable':
      return `❌ ${state}: ${shorten(id, detail ?? '')}`;
  }
}

const DETAIL_SHOWN = 72;

/** Without the folder and the id, which the row has already; the rest is in --json, and in what verify says. */
function shorten(id: string, detail: string): string {
  const line = detail.split('\n')[0]!.split(id).at(-1)!;
  return line.length > DETAIL_SHOWN ? `${line.slice(0, DETAIL_SHOWN)}…` : line;
}

export function listAsJson({ backups, bases, failure }: ListResult): unknown {
  return {
    operation: 'list',
    backups: backups.map(({ id, time, bytes, encoding, copies }) => ({
      id,
      time: time.toISOString(),
      bytes: bytes ?? null,
      format: encoding?.format ?? null,
      compression: encoding?.compression ?? null,
      copies: copies.map((copy) => ({
        store: copy.store,
        url: copy.url,
        state: copy.state,
        ...(copy.detail ? { detail: copy.detail } : {}),
        verified: copy.state === 'complete',
        verifiedAt: copy.verifiedAt?.toISOString() ?? null,
        expiresAt: copy.expiresAt?.toISOString() ?? null,
      })),
    })),
    bases: bases.map(({ time, type, detail, ...base }) => ({
      ...base,
      time: time.toISOString(),
      type: type ?? null,
      ...(detail ? { detail } : {}),
    })),
    ...(failure ? (renderErrorAsJson(failure) as object) : { succeeded: true }),
  };
}
