import {
  findInPlaceProblems,
  layOut,
  notesInPlace,
  planMoves,
  roomNeeded,
  type InPlaceFacts,
  type InPlaceLayout,
} from '../../../../lib/domain/base/in-place-plan.ts';
import {
  formatInPlaceJournal,
  judgeJournal,
  parseInPlaceJournal,
  type InPlaceJournal,
} from '../../../../lib/domain/base/in-place-journal.ts';
import {
  decideService,
  describeService,
  type Service,
  type ServiceFacts,
} from '../../../../lib/domain/base/in-place-service.ts';
import { estimateRecovery } from '../../../../lib/domain/base/recovery-estimate.ts';
import { describeTarget } from '../../../../lib/domain/base/recovery-target.ts';
import { combineProblems, LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatBytes } from '../../../../lib/domain/quantities.ts';
import type { InPlacePorts, RestoredConfiguration, Room } from '../../ports/in-place.ts';
import type { RecoveryPlace } from '../../ports/recovery.ts';
import { switchOver, type Switched } from './in-place-switch.ts';
import { planRecover, type ReadyRecovery } from './recover-plan.ts';
import { recover, type Recovered, type RecoverRequest } from './recover.ts';

export interface InPlaceRequest extends Omit<RecoverRequest, 'place' | 'action'> {
  /** `undefined`: where the source's was. */
  readonly dataDir: string | undefined;
  readonly osUser: string | undefined;
  /** Another cluster that lies there is moved aside as well. */
  readonly replace: boolean;
  /** Whether the service is to be started; otherwise it stays as it was, stopped. */
  readonly start: boolean;
  readonly commands: ServiceFacts['commands'];
  /** Asked and answered already. */
  readonly confirmed: boolean;
}

export interface PlannedInPlace extends ReadyRecovery {
  readonly facts: InPlaceFacts;
  readonly layout: InPlaceLayout;
  readonly service: Service;
  readonly rooms: readonly Room[];
  readonly configuration: RestoredConfiguration;
  readonly notes: readonly string[];
  readonly estimatedMs: number;
}

export interface RecoveredInPlace {
  readonly planned: PlannedInPlace;
  readonly recovered: Recovered;
  readonly switched: Switched;
  readonly totalMs: number;
}

/** `--dry-run`: reads, and touches nothing. @throws as `recoverInPlace` does before it begins */
export async function planInPlace(ports: InPlacePorts, asked: InPlaceRequest): Promise<PlannedInPlace> {
  const { site, services, clock } = ports;
  const ready = await planRecover(ports, asked.request, asked.overrides);
  const { plan, programs } = ready;
  const { manifest } = plan.base;
  const named = asked.dataDir ?? manifest.settings['data_directory'];
  if (named === undefined) {
    throw new LifeboatError('USAGE', `${manifest.label} does not say where its data directory was`, {
      hint: 'Name the live one: --data-dir /var/lib/postgresql/15/main',
    });
  }
  const facts = await site.survey(named);
  const { dataDir } = facts;
  judgeJournal(await site.readJournal(dataDir), 'begin');
  const problem = combineProblems(findInPlaceProblems(facts, plan, asked));
  if (problem) throw problem;
  const configFile = manifest.settings['config_file'];
  const found = await services.survey(dataDir, programs);
  const service = decideService({ ...found, configFile, commands: asked.commands });
  const layout = layOut(facts, manifest, stamp(clock.now()));
  const rooms = await site.rooms(roomNeeded(layout, plan), dataDir);
  // On the source itself the configuration is what it is by now.
  const configuration = isLive(facts, plan.systemIdentifier)
    ? { written: [], beside: [] }
    : await site.restoreConfiguration(manifest, false);
  const notes = [...plan.notes, ...notesInPlace(facts, plan)];
  return {
    ...ready,
    facts,
    layout,
    service,
    rooms,
    configuration,
    notes,
    estimatedMs: estimateRecovery(plan),
  };
}

function isLive({ cluster }: InPlaceFacts, systemIdentifier: string): boolean {
  return cluster?.systemIdentifier === systemIdentifier;
}

/** As in names: 20260117_085459. */
function stamp(time: Date): string {
  return time.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '_');
}

/**
 * `lifeboat restore --to-… --in-place`: the cluster as it was takes the live one's place. It is fetched, verified, replayed and
 * promoted beside, while the live one runs; only then is the service stopped, for as long as it takes to rename directories.
 * @throws LifeboatError on any failure; the live cluster is then as it was, and runs
 */
export async function recoverInPlace(ports: InPlacePorts, asked: InPlaceRequest): Promise<RecoveredInPlace> {
  const { host, site, clock } = ports;
  const began = clock.monotonic();
  const planned = await planInPlace(ports, asked);
  const { dataDir } = planned.facts;
  const lock = await host.lock(`in-place:${dataDir}`, `recovery in place, run ${asked.runId}`);
  try {
    const left = await site.readJournal(dataDir);
    const clears = left !== undefined && judgeJournal(left, 'begin') === 'clear';
    if (!clears) requireRoom(planned.rooms);
    await requireConsent(ports, planned, asked);
    const previous = await clearUp(ports, left);
    // What a killed one left took room.
    if (clears) requireRoom(await site.rooms(roomNeeded(planned.layout, planned.plan), dataDir));
    const journal = openJournal(ports, planned, asked, previous);
    await site.makeLocations(planned.layout);
    await site.writeJournal(journal);
    const recovered = await recoverBeside(ports, asked, planned, journal);
    const switched = await switchOver(ports, await prepareSwitch(ports, planned, journal));
    return { planned, recovered, switched, totalMs: clock.monotonic() - began };
  } finally {
    await lock.release();
  }
}

function requireRoom(rooms: readonly Room[]): void {
  const short = rooms.filter(({ needed, free, reserve }) => free < needed + reserve);
  if (short.length === 0) return;
  const told = short.map(({ path, needed, free, reserve }) => {
    const kept = reserve === 0 ? '' : `, besides ${formatBytes(reserve)} for the live cluster to go on`;
    return `${formatBytes(needed)} are needed on the disk of ${path}${kept}; ${formatBytes(free)} are free`;
  });
  throw new LifeboatError('DISK_FULL', told.join('\n'), {
    hint: 'Nothing was touched. Make room, or recover to another disk with --data-dir, without --in-place.',
  });
}

async function requireConsent(
  { confirm }: InPlacePorts,
  { layout, service, facts }: PlannedInPlace,
  { confirmed }: InPlaceRequest,
): Promise<void> {
  if (confirmed) return;
  const stops = facts.cluster?.postmaster === undefined ? '' : `Stop ${describeService(service)} and p`;
  const aside = layout.before === undefined ? '' : ` The old cluster is kept as ${layout.before}.`;
  const question = `${stops || 'P'}ut the recovered cluster into ${layout.dataDir}?${aside}`;
  if (await confirm(question)) return;
  throw new LifeboatError('RESTORE_REFUSED', 'It was not confirmed', { hint: 'Nothing was touched.' });
}

/** What one that was killed before it switched left behind. @returns the journal of the one before */
async function clearUp(
  { site, log }: InPlacePorts,
  left: InPlaceJournal | undefined,
): Promise<string | null> {
  if (!left) return null;
  if (judgeJournal(left, 'begin') !== 'clear') return formatInPlaceJournal({ ...left, previous: null });
  log.warn(`Clearing away what a recovery in place that was killed left in ${left.recovered}`);
  await site.clear(left);
  return left.previous;
}

function openJournal(
  { clock }: InPlacePorts,
  { layout, service, plan, facts }: PlannedInPlace,
  asked: InPlaceRequest,
  previous: string | null,
): InPlaceJournal {
  return {
    schemaVersion: 1,
    kind: 'recovery in place',
    runId: asked.runId,
    startedAt: clock.now().toISOString(),
    phase: 'preparing',
    target: describeTarget(plan.target),
    service,
    dataDir: layout.dataDir,
    before: layout.before ?? null,
    recovered: layout.recovered,
    start: asked.start,
    wasRunning: facts.cluster?.postmaster !== undefined,
    moves: [],
    emptied: [
      ...layout.tablespaces.flatMap(({ recovered, before }) => [recovered, before]),
      tablespaceDirOf(layout),
    ],
    previous,
  };
}

/** Nothing was switched. The error that led here is the one to report. */
async function giveUp({ site, log }: InPlacePorts, journal: InPlaceJournal): Promise<void> {
  try {
    await site.clear(journal);
    if (journal.previous === null) await site.removeJournal(journal.dataDir);
    else await site.writeJournal(parseInPlaceJournal(journal.previous, 'the journal before'));
  } catch (error) {
    // The journal stays, and the next run clears away what is left.
    log.warn(`Not everything was removed: ${(error as Error).message}`);
  }
}

/** Where the members of a chain of backups lie until they are combined. */
function tablespaceDirOf({ recovered }: InPlaceLayout): string {
  return `${recovered}_tablespaces`;
}

async function recoverBeside(
  ports: InPlacePorts,
  asked: InPlaceRequest,
  { layout, plan, programs }: PlannedInPlace,
  journal: InPlaceJournal,
): Promise<Recovered> {
  const { site, interrupted } = ports;
  const place: RecoveryPlace = {
    dataDir: layout.recovered,
    tablespaceDir: tablespaceDirOf(layout),
    tablespaceDirs: new Map(layout.tablespaces.map(({ oid, recovered }) => [oid, recovered])),
    osUser: asked.osUser ?? (await site.owner(layout.dataDir)),
    port: undefined,
    live: layout.dataDir,
    takesOver: true,
  };
  try {
    const ready = { plan, programs };
    const recovered = await recover(ports, { ...asked, place, action: 'shutdown', ready });
    interrupted.throwIfAborted();
    return recovered;
  } catch (error) {
    await giveUp(ports, journal);
    throw error;
  }
}

/** All that can be done while the live cluster still runs. */
async function prepareSwitch(
  ports: InPlacePorts,
  { layout, facts, plan }: PlannedInPlace,
  journal: InPlaceJournal,
): Promise<InPlaceJournal> {
  const { site, log } = ports;
  try {
    const live = isLive(facts, plan.systemIdentifier);
    await site.configure(layout.recovered, live ? layout.dataDir : undefined);
    if (!live) {
      const { written, beside } = await site.restoreConfiguration(plan.base.manifest, true);
      for (const file of written) log.info(`Restored ${file}`);
      for (const file of beside)
        log.warn(`There is another one already: the source’s was written to ${file}`);
    }
    const tablespaces = await site.tablespaces(layout, facts);
    return { ...journal, moves: planMoves(layout, tablespaces) };
  } catch (error) {
    await giveUp(ports, journal);
    throw error;
  }
}
