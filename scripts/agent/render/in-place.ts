import { commandTo, TWO_TIMELINES } from '../../../lib/domain/base/in-place-journal.ts';
import { commandsOf, describeService } from '../../../lib/domain/base/in-place-service.ts';
import { formatBytes, formatDuration } from '../../../lib/domain/quantities.ts';
import { formatLsn } from '../../../lib/domain/wal/lsn.ts';
import { describeTarget } from '../../../lib/domain/base/recovery-target.ts';
import type {
  InPlaceRequest,
  PlannedInPlace,
  RecoveredInPlace,
} from '../commands/recover/recover-in-place.ts';
import { describeEndOfWal, lossInWords } from '../commands/recover/recover.ts';
import type { Resumed } from '../commands/recover/resume-in-place.ts';
import { recoveredAsJson, recoveryPlanAsJson, renderRecoveryPlan } from './recovery.ts';

export function renderInPlacePlan(planned: PlannedInPlace, { start }: InPlaceRequest): string[] {
  const { facts, layout, service, rooms, configuration, notes, plan } = planned;
  const { cluster } = facts;
  const commands = commandsOf(service, layout.dataDir, '/dev/null');
  const lies =
    cluster === undefined
      ? 'nothing'
      : `cluster ${cluster.systemIdentifier}, ${cluster.postmaster === undefined ? 'stopped' : `running (process ${cluster.postmaster})`}`;
  // Its notes are among ours.
  const recovery = renderRecoveryPlan({ ...planned, plan: { ...plan, notes: [] }, freeBytes: undefined });
  return [
    ...recovery.slice(0, -1),
    `In place of ${layout.dataDir}: ${lies}`,
    `  service ${describeService(service)}`,
    `  first   recovered, verified and promoted in ${layout.recovered}, while the live cluster goes on`,
    ...(cluster?.postmaster === undefined ? [] : [`  stop    ${commands.stop.join(' ')}`]),
    ...(layout.before === undefined ? [] : [`  aside   ${layout.before}, kept`]),
    ...layout.tablespaces.map(
      ({ location, before }) => `  space   ${location}, the old one kept in ${before}`,
    ),
    ...(start ? [`  start   ${commands.start.join(' ')}`] : ['  start   not (--action shutdown)']),
    ...rooms.map(
      ({ path, needed, free, reserve }) =>
        `  room    ${formatBytes(needed)} on the disk of ${path}; ${formatBytes(free)} free${reserve === 0 ? '' : `, ${formatBytes(reserve)} of that for the live cluster to go on`}`,
    ),
    ...configuration.written.map((file) => `  config  ${file}, missing here`),
    ...configuration.beside.map((file) => `  config  ${file}, since there is another one already`),
    ...notes.map((note) => `  note    ${note}`),
    'Nothing was touched (--dry-run).',
  ];
}

export function inPlacePlanAsJson(planned: PlannedInPlace): object {
  return {
    ...recoveryPlanAsJson({ ...planned, freeBytes: undefined }),
    ...describePlace(planned),
    live: planned.facts.cluster ?? null,
    rooms: planned.rooms,
    configuration: planned.configuration,
    notes: planned.notes,
  };
}

function describePlace({ layout, service }: PlannedInPlace): object {
  return {
    inPlace: true,
    dataDir: layout.dataDir,
    before: layout.before ?? null,
    recovered: layout.recovered,
    tablespaces: layout.tablespaces,
    service,
  };
}

export function inPlaceAsJson(done: RecoveredInPlace): object {
  const { planned, recovered, switched, totalMs } = done;
  const { durationsMs, ...rest } = recoveredAsJson(recovered) as { durationsMs: object };
  return {
    ...rest,
    ...describePlace(planned),
    tablespaceDir: null,
    // Those of the server beside, which is gone.
    socketDir: null,
    port: null,
    action: switched.downtime === undefined ? 'shutdown' : 'promote',
    durationsMs: { ...durationsMs, ...durations(done.switched), total: Math.round(totalMs) },
    undo: commandTo('undo', planned.layout.dataDir),
  };
}

function durations({ downtime, stopping, starting }: RecoveredInPlace['switched']): object {
  return {
    stopping: Math.round(stopping),
    starting: Math.round(starting),
    downtime: downtime === undefined ? null : Math.round(downtime),
  };
}

export function describeInPlace({ planned, recovered, switched, totalMs }: RecoveredInPlace): string[] {
  const { layout, service } = planned;
  const { plan, end, lastCommit, durations } = recovered;
  const loss = lossInWords(recovered);
  const { dataDir, before } = layout;
  const position = end.lsn === undefined ? '' : ` at ${formatLsn(end.lsn)}`;
  const commit = lastCommit === undefined ? 'no commit behind the base backup' : `last commit ${lastCommit}`;
  const state =
    switched.downtime === undefined
      ? `is in place and stopped; start it: ${commandsOf(service, dataDir, '/dev/null').start.join(' ')}`
      : 'is in place and accepts connections';
  return [
    `✅ Recovered to ${describeTarget(plan.target)}: ${commit}${position}`,
    ...(end.endOfWal ? [describeEndOfWal(plan.target)] : []),
    ...(loss === undefined ? [] : [loss]),
    `The cluster in ${dataDir} ${state}, on timeline ${end.timeline}`,
    ...describeDowntime(switched),
    `Duration: ${formatDuration(totalMs)} (beside: unpacking ${formatDuration(durations.unpacking)}, verifying ${formatDuration(durations.verifying)}, replaying ${formatDuration(durations.replaying)})`,
    ...(before === undefined
      ? []
      : [
          `The old cluster lies in ${before}, whatever was committed after the target is there; remove it when you are sure`,
          `Go back: ${commandTo('undo', dataDir)}`,
        ]),
    'A running lifeboat wal stream goes on with the new timeline by itself: see lifeboat wal status. Other slots and standbys have to be made anew.',
  ];
}

function describeDowntime({ downtime, stopping, starting }: RecoveredInPlace['switched']): string[] {
  if (downtime === undefined) return [];
  return [
    `Downtime: ${formatDuration(downtime)} (stopping ${formatDuration(stopping)}, starting ${formatDuration(starting)})`,
  ];
}

export function describeResumed({ journal, switched }: Resumed, wish: 'finish' | 'undo'): string[] {
  const { dataDir, before, recovered, wasRunning, start } = journal;
  if (wish === 'finish') {
    return [
      `✅ Finished: the cluster recovered to ${journal.target} is in place in ${dataDir}${start ? ' and accepts connections' : ', stopped'}`,
      ...describeDowntime(switched),
      ...(before === null
        ? []
        : [`The old cluster lies in ${before}. Go back: ${commandTo('undo', dataDir)}`]),
    ];
  }
  const old =
    before === null
      ? 'no cluster, as before'
      : `the old cluster${wasRunning ? ', which accepts connections' : ', stopped'}`;
  return [
    `✅ Taken back: in ${dataDir} there is ${old}`,
    ...describeDowntime(switched),
    ...(before === null ? [] : [TWO_TIMELINES]),
    `The recovered cluster lies in ${recovered}. Put it in place again: ${commandTo('finish', dataDir)}`,
  ];
}

export function resumedAsJson({ journal, switched }: Resumed, wish: 'finish' | 'undo'): object {
  const { dataDir, before, recovered, target, service } = journal;
  return {
    operation: 'restore',
    kind: 'recovery',
    succeeded: true,
    inPlace: true,
    did: wish,
    target,
    dataDir,
    before,
    recovered,
    service,
    durationsMs: durations(switched),
  };
}
