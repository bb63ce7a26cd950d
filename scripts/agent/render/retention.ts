import type { RetentionDecision } from '../../../lib/domain/backup/retention.ts';
import { formatBytes, formatCount } from '../../../lib/domain/quantities.ts';
import type { RecoveryDecisions, WalVerdict } from '../commands/recover/recovery-retention.ts';
import type { RetentionResult } from '../commands/catalog/retention.ts';
import { renderTable } from './table.ts';

export function renderRetention(result: RetentionResult): string[] {
  const { local, s3, recovery, localAction, s3Action } = result;
  return [
    ...renderStore('Local', local, localAction),
    ...renderRecovery(recovery.local, localAction),
    ...(s3 ? ['', ...renderStore('S3', s3, s3Action)] : []),
    ...(recovery.s3 ? renderRecovery(recovery.s3, s3Action) : []),
    ...(s3Action === 'none' && wouldGo(result)
      ? ['In S3 nothing was changed; with an operator’s rights: lifeboat retention --apply']
      : []),
  ];
}

function renderStore(name: string, decisions: readonly RetentionDecision[], action: string): string[] {
  if (decisions.length === 0) return [`${name}: nothing there`];
  const done = action === 'none' ? 'would go' : action;
  return [
    `${name}:`,
    ...renderTable(
      ['ID', 'STATE', 'SIZE', 'VERDICT', 'WHY'],
      decisions.map(({ copy, expire, reason }) => [
        copy.id,
        copy.state,
        formatBytes(sizeOf(copy.files)),
        expire ? done : 'stays',
        reason,
      ]),
    ),
  ];
}

function wouldGo({ s3, recovery }: RetentionResult): boolean {
  return (
    [...(s3 ?? []), ...(recovery.s3?.bases ?? [])].some(({ expire }) => expire) ||
    (recovery.s3?.wal ?? []).some(({ archive, state }) => archive.expired.length + state.expired.length > 0)
  );
}

function renderRecovery({ bases, wal }: RecoveryDecisions, action: string): string[] {
  const done = action === 'none' ? 'would go' : action;
  const table = renderTable(
    ['BASE BACKUP', 'STATE', 'SIZE', 'VERDICT', 'WHY'],
    bases.map(({ base, expire, reason }) => [
      base.label,
      base.state,
      formatBytes(sizeOf(base.files)),
      expire ? done : 'stays',
      reason,
    ]),
  );
  return [
    ...(bases.length === 0 ? [] : ['', ...table]),
    ...wal.map(
      ({ systemIdentifier, archive, state }) =>
        `WAL of the cluster ${systemIdentifier}: ${describeCounts(archive, done)}; of the open segments: ${describeCounts(state, done)}`,
    ),
  ];
}

function describeCounts({ stays, expired }: WalVerdict['archive'], done: string): string {
  return `${formatCount(stays, 'object')} ${stays === 1 ? 'stays' : 'stay'}, ${expired.length} ${done}`;
}

export function retentionAsJson({ local, s3, recovery, localAction, s3Action }: RetentionResult): unknown {
  return {
    operation: 'retention',
    succeeded: true,
    local: {
      action: localAction,
      decisions: local.map(decisionAsJson),
      ...recoveryAsJson(recovery.local),
    },
    ...(s3
      ? {
          s3: {
            action: s3Action,
            decisions: s3.map(decisionAsJson),
            ...(recovery.s3 && recoveryAsJson(recovery.s3)),
          },
        }
      : {}),
  };
}

function recoveryAsJson({ bases, wal }: RecoveryDecisions): object {
  return {
    bases: bases.map(({ base, expire, reason }) => ({
      label: base.label,
      systemIdentifier: base.series.systemIdentifier,
      state: base.state,
      time: base.time.toISOString(),
      bytes: sizeOf(base.files),
      files: base.files.map(({ key }) => key),
      expire,
      reason,
    })),
    wal: wal.map(({ systemIdentifier, archive, state }) => ({ systemIdentifier, archive, state })),
  };
}

function decisionAsJson({ copy, expire, reason }: RetentionDecision): unknown {
  return {
    id: copy.id,
    state: copy.state,
    time: copy.time.toISOString(),
    bytes: sizeOf(copy.files),
    files: copy.files.map(({ key }) => key),
    expire,
    reason,
  };
}

function sizeOf(files: readonly { size: number }[]): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}
