import { formatBytes, formatCount, formatDuration } from '../../../lib/domain/quantities.ts';
import {
  planSteps,
  tablePlanSteps,
  type RestorePlan,
  type TableRestorePlan,
} from '../../../lib/domain/restore/plan.ts';
import type { ToldRestore } from '../commands/restore/restore-and-tell.ts';
import type { RestoreRequest } from '../commands/restore/restore.ts';
import { renderErrorAsJson } from './error.ts';

export function renderRestorePlan(plan: RestorePlan): string[] {
  return [
    `Restore ${plan.backup.label}${describeSource(plan)} into ${JSON.stringify(plan.target)}, ${ACTION[plan.action]}`,
    ...renderSteps(plan, planSteps(plan)),
    ...(plan.action === 'replace'
      ? [`  keeps the database that is there now as ${JSON.stringify(plan.keptAs)}`]
      : []),
    ...renderNeeds(plan),
  ];
}

export function renderTablePlan(plan: TableRestorePlan): string[] {
  const { tables } = plan.tables;
  return [
    `Restore ${formatCount(tables.length, 'table')} of ${plan.backup.label}${describeSource(plan)} into ${JSON.stringify(plan.target)}`,
    ...renderSteps(plan, tablePlanSteps(plan)),
    ...renderNeeds(plan),
  ];
}

type AnyPlan = RestorePlan | TableRestorePlan;

function renderSteps({ copies }: AnyPlan, steps: readonly string[]): string[] {
  return [
    ...copies.map(
      ({ url, size }, index) => `  ${index === 0 ? 'from ' : 'or   '} ${url} (${formatBytes(size)})`,
    ),
    ...steps.map((step, index) => `  ${String(index + 1).padStart(2)}.  ${step}`),
  ];
}

function renderNeeds({ estimate, fetchBytes, disk, warnings }: AnyPlan): string[] {
  const parts = [
    ...(fetchBytes > 0 ? [`download ${formatDuration(estimate.downloadMs)}`] : []),
    `restore ${formatDuration(estimate.restoreMs)}`,
  ];
  const total = formatDuration(estimate.downloadMs + estimate.restoreMs);
  const basis = estimate.measured
    ? 'measured on this host'
    : 'by usual rates, nothing was measured on this host yet';
  return [
    `  takes about ${total} (${parts.join(', ')}; ${basis})`,
    `  needs ${formatBytes(disk.needed)} in ${disk.folder} (${formatBytes(disk.free)} free), and the database’s size on the server’s own disk`,
    ...warnings.map((warning) => `  ⚠️  ${warning}`),
    'Nothing was changed (--dry-run).',
  ];
}

const ACTION = {
  create: 'which does not exist yet',
  fill: 'which exists and is empty',
  replace: 'which holds data',
} as const;

function describeSource({ backup }: AnyPlan): string {
  const rows =
    backup.rows === undefined
      ? ''
      : `, ${formatCount(backup.rows, 'row')} in ${formatCount(backup.tables ?? 0, 'table')}`;
  return backup.database === undefined ? rows : ` (${JSON.stringify(backup.database)}${rows})`;
}

export function planAsJson(plan: AnyPlan): unknown {
  return { operation: 'restore', succeeded: true, dryRun: true, ...plan };
}

export function restoreAsJson(
  request: RestoreRequest,
  { result, failure, deliveries }: ToldRestore,
): unknown {
  const common = {
    operation: 'restore',
    database: request.database,
    source: request.source,
    runId: request.runId,
  };
  if (!result?.completed) {
    return { ...common, ...(failure ? (renderErrorAsJson(failure) as object) : {}), messages: deliveries };
  }
  const { plan, completed } = result;
  return {
    ...common,
    succeeded: true,
    id: plan.backup.label,
    from: completed.source,
    tables: completed.checked?.tables ?? null,
    rows: completed.checked?.rows ?? null,
    keptAs: completed.keptAs ?? null,
    durationMs: Math.round(completed.durationMs),
    downloadMs: Math.round(completed.downloadMs),
    warnings: completed.warnings,
    messages: deliveries,
  };
}
