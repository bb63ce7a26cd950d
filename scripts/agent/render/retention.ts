import type { RetentionDecision } from '../../../lib/domain/backup/retention.ts';
import { formatBytes } from '../../../lib/domain/quantities.ts';
import type { RetentionResult } from '../commands/retention.ts';
import { renderTable } from './table.ts';

export function renderRetention({ local, s3, localAction, s3Action }: RetentionResult): string[] {
  return [
    ...renderStore('Local', local, localAction),
    ...(s3 ? ['', ...renderStore('S3', s3, s3Action)] : []),
    ...(s3Action === 'none' && s3?.some(({ expire }) => expire)
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

export function retentionAsJson({ local, s3, localAction, s3Action }: RetentionResult): unknown {
  return {
    operation: 'retention',
    succeeded: true,
    local: { action: localAction, decisions: local.map(decisionAsJson) },
    ...(s3 ? { s3: { action: s3Action, decisions: s3.map(decisionAsJson) } } : {}),
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
