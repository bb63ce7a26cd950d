import {
  isSettled,
  journalThatCounts,
  judgeJournal,
  placesFor,
  reversed,
  type InPlaceJournal,
} from '../../../../lib/domain/base/in-place-journal.ts';
import { describeService } from '../../../../lib/domain/base/in-place-service.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import type { InPlacePorts } from '../../ports/in-place.ts';
import { switchBack, switchOver, type Switched } from './in-place-switch.ts';
import { tellPutBack } from './put-back-timeline.ts';

type ResumePorts = Pick<
  InPlacePorts,
  'site' | 'services' | 'host' | 'clock' | 'log' | 'confirm' | 'app' | 'stores'
>;

interface ResumeRequest {
  readonly wish: 'finish' | 'undo';
  readonly dataDir: string;
  /** Asked and answered already. */
  readonly confirmed: boolean;
}

export interface Resumed {
  readonly journal: InPlaceJournal;
  readonly switched: Switched;
}

/**
 * `--finish`, `--undo`: goes on with what a journal says.
 * @throws LifeboatError RESTORE_REFUSED, with nothing touched, when there is nothing to go on with, when what is to be put in
 *   place is not there any more, or when it is not confirmed; USAGE where nobody can be asked
 */
export async function resumeInPlace(ports: ResumePorts, asked: ResumeRequest): Promise<Resumed> {
  const { site, host, log } = ports;
  const { wish } = asked;
  const dataDir = await site.resolve(asked.dataDir);
  const lock = await host.lock(`in-place:${dataDir}`, `recovery in place, --${wish}`);
  try {
    const found = await site.readJournal(dataDir);
    const counts = journalThatCounts(found);
    judgeJournal(counts, wish);
    const journal = counts!;
    if (isSettled(journal)) await requirePlaces(ports, journal, wish);
    await requireConsent(ports, journal, asked);
    if (found !== journal) {
      log.warn(`Clearing away what a recovery in place that was killed left in ${found!.recovered}`);
      await site.clear(found!);
    }
    const work = wish === 'finish' ? switchOver : switchBack;
    const switched = await work(ports, journal);
    if (wish === 'finish') await tellPutBack(ports, journal, journal.before);
    return { journal, switched };
  } finally {
    await lock.release();
  }
}

/** Somebody may have removed the old cluster since, or the recovered one. */
async function requirePlaces(
  { site }: ResumePorts,
  { moves, startedAt }: InPlaceJournal,
  wish: ResumeRequest['wish'],
): Promise<void> {
  const { there, absent } = placesFor(wish === 'finish' ? moves : reversed(moves));
  const present = await site.present([...there, ...absent]);
  const wrong = [
    ...there.filter((name) => !present.has(name)).map((name) => `${name} is not there any more`),
    ...absent.filter((name) => present.has(name)).map((name) => `${name} is in the way`),
  ];
  if (wrong.length === 0) return;
  const what = wish === 'finish' ? 'finished' : 'taken back';
  throw new LifeboatError(
    'RESTORE_REFUSED',
    `The recovery in place of ${startedAt} cannot be ${what}: ${wrong.join('; ')}`,
    { hint: 'Nothing was touched. What was removed cannot be put in place; recover again, with --in-place.' },
  );
}

/** An interrupted one was confirmed when it began: while no server runs, going on stops nothing. */
async function requireConsent(
  { confirm, services }: ResumePorts,
  journal: InPlaceJournal,
  { wish, confirmed }: ResumeRequest,
): Promise<void> {
  if (confirmed) return;
  const runs = (await services.postmaster(journal.dataDir)) !== undefined;
  if (!runs && !isSettled(journal)) return;
  const { service, dataDir, before, recovered } = journal;
  const stops = runs ? `Stop ${describeService(service)}. ` : '';
  const kept = wish === 'finish' ? before : recovered;
  const what =
    wish === 'undo' && before === null
      ? `Take the recovered cluster out of ${dataDir}?`
      : `Put the ${wish === 'finish' ? 'recovered' : 'old'} cluster into ${dataDir}?`;
  const question = `${stops}${what}${kept === null ? '' : ` What is there now is kept as ${kept}.`}`;
  if (await confirm(question)) return;
  throw new LifeboatError('RESTORE_REFUSED', 'It was not confirmed', { hint: 'Nothing was touched.' });
}
