import type { RecoveryPlan } from '../../../lib/domain/base/recovery-plan.ts';
import { describeTarget, type RecoveryTarget } from '../../../lib/domain/base/recovery-target.ts';
import { formatBytes, formatCount, formatDuration } from '../../../lib/domain/quantities.ts';
import { formatLsn } from '../../../lib/domain/wal/lsn.ts';
import type { PlannedRecovery, Recovered } from '../commands/recover/recover.ts';

export function renderRecoveryPlan({ plan, programs, freeBytes, estimatedMs }: PlannedRecovery): string[] {
  const { base, chain, timeline, wal, walNeeded, bytes, earliest, latest, notes, warnings } = plan;
  const needed = wal.slice(0, walNeeded);
  const range =
    needed.length === 0
      ? 'none: the base backup’s own'
      : `${needed[0]!.name} to ${needed.at(-1)!.name}, ${formatCount(needed.length, 'segment')} (${formatBytes(bytes.wal)})`;
  const room = freeBytes === undefined ? '' : `; ${formatBytes(freeBytes)} free`;
  return [
    `Recovery to ${describeTarget(plan.target)} of cluster ${plan.systemIdentifier}, timeline ${timeline}`,
    `  base    ${base.label} (${formatBytes(bytes.base)}), ended at ${base.manifest.stopLsn}`,
    ...(chain.length > 1 ? [`  chain   ${chain.map(({ label }) => label).join(', ')}`] : []),
    `  wal     ${range}`,
    `  reads   ${formatBytes(bytes.base + bytes.wal)}`,
    `  disk    ${formatBytes(bytes.disk)}${room}`,
    `  time    about ${formatDuration(estimatedMs)}`,
    `  window  ${earliest.time} to ${latest.time}`,
    `  server  ${programs.folder}`,
    ...notes.map((note) => `  note    ${note}`),
    ...warnings.map((warning) => `  ⚠️  ${warning}`),
    'Nothing was touched (--dry-run).',
  ];
}

export function recoveryPlanAsJson({ plan, programs, freeBytes, estimatedMs }: PlannedRecovery): object {
  return {
    operation: 'restore',
    kind: 'recovery',
    succeeded: true,
    dryRun: true,
    ...describePlan(plan),
    serverFolder: programs.folder,
    freeBytes: freeBytes ?? null,
    estimatedMs: Math.round(estimatedMs),
  };
}

export function recoveredAsJson(recovered: Recovered): object {
  const { plan, place, action, end, lastCommit, lossMs, verifiedFiles, durations } = recovered;
  return {
    operation: 'restore',
    kind: 'recovery',
    succeeded: true,
    ...describePlan(plan),
    dataDir: place.dataDir,
    tablespaceDir: plan.base.manifest.tablespaces.length > 0 ? place.tablespaceDir : null,
    socketDir: end.socketDir,
    port: end.port,
    action,
    reached: {
      lsn: end.lsn === undefined ? null : formatLsn(end.lsn),
      lastCommit: lastCommit ?? null,
      timeline: end.timeline ?? null,
      endOfWal: end.endOfWal,
      lossMs: lossMs ?? null,
    },
    segments: end.segments,
    verifiedFiles,
    durationsMs: Object.fromEntries(
      Object.entries(durations).map(([name, each]) => [name, Math.round(each as number)]),
    ),
  };
}

function describePlan(plan: RecoveryPlan): object {
  const { base, chain, timeline, wal, walNeeded, bytes, earliest, latest, notes, warnings, target } = plan;
  return {
    systemIdentifier: plan.systemIdentifier,
    target: targetAsJson(target),
    base: base.label,
    chain: chain.map(({ label }) => label),
    timeline,
    wal: { first: wal[0]?.name ?? null, last: wal[walNeeded - 1]?.name ?? null, segments: walNeeded },
    bytes,
    window: { earliest: earliest.time, latest: latest.time },
    notes,
    warnings,
  };
}

function targetAsJson(target: RecoveryTarget): object {
  return target.kind === 'lsn' ? { ...target, lsn: formatLsn(target.lsn) } : target;
}
