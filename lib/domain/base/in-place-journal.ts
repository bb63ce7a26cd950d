import { z } from 'zod';
import { LifeboatError } from '../errors.ts';
import { formatDocument, parseDocument } from '../versioned-document.ts';

/**
 * What a recovery in place is about to do, written before it does it: whoever comes after a kill reads here what to finish or
 * to take back. It lies beside the data directory, as `<data directory>.lifeboat-in-place.json`.
 */

const absolute = z.string().startsWith('/');
const words = z.array(z.string()).min(1).readonly();

const service = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('debian'), version: z.string(), cluster: z.string() }),
  z.object({ kind: z.literal('systemd'), unit: z.string() }),
  z.object({ kind: z.literal('pg_ctl'), program: absolute, options: z.string() }),
  z.object({ kind: z.literal('commands'), stop: words, start: words }),
]);

const move = z.discriminatedUnion('kind', [
  /**
   * Whole or not at all: rename(2) within one file system. `own` is the one of the two names that no other move has: by it
   * alone whoever comes later sees whether this one was made.
   */
  z.object({ kind: z.literal('rename'), from: absolute, to: absolute, own: z.enum(['from', 'to']) }),
  /** A symbolic link that leads to `to` instead of `from`, where its folder is there: that moves as well. */
  z.object({ kind: z.literal('link'), link: absolute, from: absolute, to: absolute }),
]);

const schema = z.object({
  schemaVersion: z.literal(1),
  kind: z.literal('recovery in place'),
  runId: z.string(),
  startedAt: z.iso.datetime(),
  /**
   * - `preparing`: the live cluster is untouched
   * - `switching`: the service is stopped, or about to be; some of the moves may have been made
   * - `done`: the recovered cluster is the live one
   * - `undoing`, `undone`: the same, back
   */
  phase: z.enum(['preparing', 'switching', 'done', 'undoing', 'undone']),
  /** For people: as in "2026-01-17T08:54:59.000000Z". */
  target: z.string(),
  service,
  /** Of the live cluster. */
  dataDir: absolute,
  /** Where the old one is moved to; `null`: there was none. */
  before: absolute.nullable(),
  /** Where the new one is made. */
  recovered: absolute,
  /** Whether the service is to be started once it is in place. */
  start: z.boolean(),
  /** Then it is started again on the way back. */
  wasRunning: z.boolean(),
  /** In order; each may be made again, and taken back, whatever became of it. */
  moves: z.array(move),
  /** Folders that are of no use once they are empty. */
  emptied: z.array(absolute),
  /** The journal that this one took the place of: it counts again when this one comes to nothing. */
  previous: z.string().nullable(),
});

export type InPlaceJournal = z.infer<typeof schema>;
export type Move = InPlaceJournal['moves'][number];

const DOCUMENT = { schema, version: 1, name: 'journal of a recovery in place' };

/** @throws ZodError: what is written must be what can be read */
export function formatInPlaceJournal(journal: InPlaceJournal): string {
  return formatDocument(DOCUMENT, journal);
}

/** @throws LifeboatError MANIFEST_NEWER, CORRUPT */
export function parseInPlaceJournal(text: string, where: string): InPlaceJournal {
  return parseDocument(DOCUMENT, text, where);
}

/** What somebody wants of a data directory that may have a journal. */
export type InPlaceWish = 'begin' | 'finish' | 'undo';

/**
 * @returns what the journal leaves to do: `clear` what was half-made first, or go on
 * @throws LifeboatError IN_PLACE_UNFINISHED, RESTORE_REFUSED
 */
export function judgeJournal(journal: InPlaceJournal | undefined, wish: InPlaceWish): 'go' | 'clear' {
  if (!journal) {
    if (wish === 'begin') return 'go';
    throw new LifeboatError('RESTORE_REFUSED', `There is no recovery in place to ${wish}`, {
      hint: 'Name the live data directory with --data-dir; beside it there must be a file <data-dir>.lifeboat-in-place.json.',
    });
  }
  const { phase } = journal;
  const halfWay = phase === 'switching' || phase === 'undoing';
  if (wish === 'begin') {
    if (halfWay) throw unfinished(journal);
    return phase === 'preparing' ? 'clear' : 'go';
  }
  if (phase === 'preparing') {
    throw new LifeboatError(
      'RESTORE_REFUSED',
      `The recovery in place of ${journal.startedAt} was ended before anything was switched: the live cluster was not touched`,
      { hint: 'Start it again: what it left is cleared away then.' },
    );
  }
  if (phase === (wish === 'finish' ? 'done' : 'undone')) {
    const what = wish === 'finish' ? 'finished' : 'taken back';
    throw new LifeboatError('RESTORE_REFUSED', `The recovery in place of ${journal.startedAt} is ${what}`, {
      hint: 'Nothing is left to do.',
    });
  }
  return 'go';
}

/**
 * One that was ended before it switched anything has changed nothing of the one before, which still can be taken back.
 * @param found as it lies there
 * @throws LifeboatError MANIFEST_NEWER, CORRUPT
 */
export function journalThatCounts(found: InPlaceJournal | undefined): InPlaceJournal | undefined {
  if (found?.phase !== 'preparing' || found.previous === null) return found;
  return parseInPlaceJournal(found.previous, `the journal before that of ${found.startedAt}`);
}

/** Whether all of its moves were made, or none: then it is known what lies where. */
export function isSettled({ phase }: InPlaceJournal): boolean {
  return phase === 'done' || phase === 'undone';
}

/**
 * What must lie there, and what must not, before the first of these moves is made: `move` takes a name that is missing for a
 * move that was made.
 */
export function placesFor(moves: readonly Move[]): {
  readonly there: readonly string[];
  readonly absent: readonly string[];
} {
  const renames = moves.filter((each) => each.kind === 'rename');
  const there = renames.map(({ from }) => from);
  return { there, absent: renames.map(({ to }) => to).filter((each) => !there.includes(each)) };
}

function unfinished(journal: InPlaceJournal): LifeboatError {
  const { startedAt, target, dataDir, phase } = journal;
  const what = phase === 'switching' ? 'a recovery in place' : 'the way back from a recovery in place';
  return new LifeboatError(
    'IN_PLACE_UNFINISHED',
    `${dataDir}: ${what} of ${startedAt}, to ${target}, was interrupted while directories were moved; the service may be stopped`,
    { hint: `Finish it: ${commandTo('finish', dataDir)}, or take it back: ${commandTo('undo', dataDir)}` },
  );
}

/** To be typed. */
export function commandTo(wish: 'finish' | 'undo', dataDir: string): string {
  return `lifeboat restore --in-place --${wish} --data-dir ${dataDir}`;
}

/** For people who have gone back to the old cluster. */
export const TWO_TIMELINES =
  'If the recovered cluster wrote WAL, S3 has two timelines that went on: name this one’s in every later recovery, --timeline <n> (SELECT timeline_id FROM pg_control_checkpoint()). Without it --latest asks which is meant';

/** The same, back. */
export function reversed(moves: readonly Move[]): Move[] {
  return moves.toReversed().map((each) => {
    const back = { from: each.to, to: each.from };
    if (each.kind === 'link') return { ...each, ...back };
    return { ...each, ...back, own: each.own === 'from' ? 'to' : 'from' };
  });
}

/** For a shell, when even the way back failed. */
export function describeMoves(moves: readonly Move[]): string[] {
  return moves.map((each) =>
    each.kind === 'rename'
      ? `mv -T ${quote(each.from)} ${quote(each.to)}`
      : `ln -sfn ${quote(each.to)} ${quote(each.link)}`,
  );
}

function quote(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`;
}
