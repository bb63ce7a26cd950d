import {
  commandTo,
  describeMoves,
  reversed,
  TWO_TIMELINES,
  type InPlaceJournal,
} from '../../../../lib/domain/base/in-place-journal.ts';
import { commandsOf, describeService } from '../../../../lib/domain/base/in-place-service.ts';
import { asLifeboatError, LifeboatError } from '../../../../lib/domain/errors.ts';
import type { InPlacePorts } from '../../ports/in-place.ts';
import { tellPutBack } from './put-back-timeline.ts';

export interface Switched {
  /** Milliseconds from the order to stop until the server accepted connections; `undefined`: it was not started. */
  readonly downtime: number | undefined;
  /** Of that: until it was gone, and from the order to start. */
  readonly stopping: number;
  readonly starting: number;
}

type SwitchPorts = Pick<InPlacePorts, 'site' | 'services' | 'clock' | 'log' | 'app' | 'stores'>;
type Direction = 'forward' | 'back';

const PHASES = {
  forward: { on: 'switching', done: 'done', notBegun: 'undone' },
  back: { on: 'undoing', done: 'undone', notBegun: 'done' },
} as const;

/**
 * Stops the service, puts the recovered cluster in the place of the live one, and starts it. No signal ends it half-way.
 * @throws LifeboatError after everything was put back; or, where even that failed, with the commands that are left to do
 */
export async function switchOver(ports: SwitchPorts, journal: InPlaceJournal): Promise<Switched> {
  const stopping = await stop(ports, journal, 'forward');
  try {
    return await moveAndStart(ports, journal, 'forward', stopping);
  } catch (error) {
    const failure = asLifeboatError(error);
    ports.log.warn(`${failure.message}; the old state is put back`);
    await putBack(ports, journal, failure);
    throw backInPlace(journal, failure);
  }
}

/** The old cluster becomes the live one again; what is there now goes where it was recovered. */
export async function switchBack(ports: SwitchPorts, journal: InPlaceJournal): Promise<Switched> {
  const stopping = await stop(ports, journal, 'back');
  try {
    const switched = await moveAndStart(ports, journal, 'back', stopping);
    await tellPutBack(ports, journal, journal.recovered);
    return switched;
  } catch (error) {
    const failure = asLifeboatError(error);
    const [again, instead] = [commandTo('undo', journal.dataDir), commandTo('finish', journal.dataDir)];
    throw new LifeboatError(failure.code, failure.message, {
      cause: failure,
      hint: `Mend what is named above, then: ${again}. Or put the recovered cluster in place: ${instead}`,
    });
  }
}

interface Stopping {
  readonly began: number;
  readonly ended: number;
}

/** From here on the journal says what is to be done. */
async function stop(
  { site, services, clock, log }: SwitchPorts,
  journal: InPlaceJournal,
  direction: Direction,
): Promise<Stopping> {
  const { service, dataDir } = journal;
  await site.writeJournal({ ...journal, phase: PHASES[direction].on });
  const began = clock.monotonic();
  try {
    if ((await services.postmaster(dataDir)) !== undefined) log.info(`Stopping ${describeService(service)}`);
    await services.stop(service, dataDir);
  } catch (error) {
    const failure = asLifeboatError(error);
    const runs = (await services.postmaster(dataDir)) !== undefined;
    if (runs) {
      await site.writeJournal({ ...journal, phase: PHASES[direction].notBegun });
      throw stillRuns(journal, direction, failure);
    }
    // It was to be stopped, and is.
    log.warn(failure.message);
  }
  return { began, ended: clock.monotonic() };
}

function stillRuns(
  { dataDir, recovered }: InPlaceJournal,
  direction: Direction,
  failure: LifeboatError,
): LifeboatError {
  const again = commandTo(direction === 'forward' ? 'finish' : 'undo', dataDir);
  const what = direction === 'forward' ? ` The recovered cluster lies in ${recovered}.` : '';
  return new LifeboatError(
    failure.code,
    `${failure.message}\nThe cluster in ${dataDir} still runs, nothing was moved.${what}`,
    { cause: failure, hint: `Mend what is named above, then: ${again}` },
  );
}

async function moveAndStart(
  { site, services, clock, log }: SwitchPorts,
  journal: InPlaceJournal,
  direction: Direction,
  stopping: Stopping,
): Promise<Switched> {
  const { service, dataDir, moves, emptied } = journal;
  await site.move(direction === 'forward' ? moves : reversed(moves));
  const moved = clock.monotonic();
  const start = direction === 'forward' ? journal.start : journal.wasRunning;
  if (start) {
    log.info(`Starting ${describeService(service)}`);
    await services.start(service, dataDir);
  }
  const ended = clock.monotonic();
  await site.tidy(emptied);
  await site.writeJournal({ ...journal, phase: PHASES[direction].done });
  return {
    downtime: start ? ended - stopping.began : undefined,
    stopping: stopping.ended - stopping.began,
    starting: ended - moved,
  };
}

async function putBack(ports: SwitchPorts, journal: InPlaceJournal, failure: LifeboatError): Promise<void> {
  try {
    await switchBack(ports, journal);
  } catch (error) {
    const { dataDir, moves, service } = journal;
    const { start } = commandsOf(service, dataDir, '/dev/null');
    throw new LifeboatError(
      failure.code,
      `${failure.message}\nThe old state could not be put back: ${asLifeboatError(error).message}\nThese lead back, those of them that were not done yet:\n${[...describeMoves(reversed(moves)), start.join(' ')].map((line) => `  ${line}`).join('\n')}`,
      { cause: error, hint: `Try again: ${commandTo('undo', dataDir)}` },
    );
  }
}

function backInPlace(
  { dataDir, recovered, before, wasRunning }: InPlaceJournal,
  failure: LifeboatError,
): LifeboatError {
  const old =
    before === null
      ? `There is no cluster in ${dataDir}, as before`
      : `The old cluster is back in ${dataDir}${wasRunning ? ' and accepts connections' : ', stopped as before'}`;
  const later = before === null ? '' : `\n${TWO_TIMELINES}`;
  return new LifeboatError(
    failure.code,
    `${failure.message}\n${old}. The recovered one lies in ${recovered}.${later}`,
    {
      cause: failure,
      hint: `Mend what is named above, then: ${commandTo('finish', dataDir)}. Or remove ${recovered}.`,
    },
  );
}
