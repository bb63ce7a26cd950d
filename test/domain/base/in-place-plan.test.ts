import {
  findInPlaceProblems,
  layOut,
  notesInPlace,
  planMoves,
  roomNeeded,
  type InPlaceFacts,
  type LiveCluster,
} from '../../../lib/domain/base/in-place-plan.ts';
import {
  formatInPlaceJournal,
  journalThatCounts,
  judgeJournal,
  placesFor,
  reversed,
  type InPlaceJournal,
} from '../../../lib/domain/base/in-place-journal.ts';
import type { RecoveryPlan } from '../../../lib/domain/base/recovery-plan.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { fullManifest, volumeOf } from './manifests.ts';

const SPACE = { oid: 16400, name: 'fast', location: '/mnt/fast', size: 1 };
const manifest = fullManifest({
  tablespaces: [SPACE],
  volumes: [volumeOf('base', 1, 1000), volumeOf('ts-16400', 1, 300)],
});
const cluster: LiveCluster = {
  systemIdentifier: '7300000000000000001',
  timeline: 1,
  major: 15,
  standby: false,
  postmaster: 4711,
  walLink: undefined,
  tablespaces: [{ oid: 16400, location: '/mnt/fast' }],
};
const facts: InPlaceFacts = {
  dataDir: '/srv/data',
  holds: 'a cluster',
  isMountPoint: false,
  mayRename: true,
  cluster,
};
const plan = {
  systemIdentifier: '7300000000000000001',
  base: { manifest },
  chain: [manifest],
  target: { kind: 'latest' },
  bytes: { disk: 2300, baseRaw: 1300, walOnDisk: 1000 },
} as unknown as RecoveryPlan;
const without: InPlaceFacts = { ...facts, holds: 'nothing', cluster: undefined };

const problemsOf = (changes: Partial<InPlaceFacts>, replace = false): string[] =>
  findInPlaceProblems({ ...facts, ...changes }, plan, { replace }).map(({ message }) => message);
const withCluster = (changes: Partial<LiveCluster>): Partial<InPlaceFacts> => ({
  cluster: { ...cluster, ...changes },
});

describe('A recovery in place', () => {
  it('has nothing against the live cluster itself, or against a place that is empty', () => {
    expect(problemsOf({})).toEqual([]);
    expect(problemsOf(without)).toEqual([]);
  });

  it('refuses what could not be moved, or is not what it takes it for', () => {
    expect(problemsOf({ isMountPoint: true, mayRename: false })).toEqual([
      expect.stringContaining('mount point'),
      expect.stringContaining('may not rename'),
    ]);
    expect(problemsOf({ holds: 'something else', cluster: undefined })[0]).toContain('no cluster');
    expect(problemsOf(withCluster({ standby: true }))[0]).toContain('is a standby');
    expect(problemsOf(withCluster({ major: 14 }))[0]).toContain('PostgreSQL 14; the backup is of 15');
  });

  it('moves another cluster aside only when told to', () => {
    const other = withCluster({ systemIdentifier: '7', tablespaces: [{ oid: 5, location: '/x' }] });
    expect(problemsOf(other)[0]).toContain('is another cluster, 7');
    expect(problemsOf(other, true)).toEqual([]);
  });

  it('says where a tablespace goes that was made after the base backup: not over the live one', () => {
    const since = withCluster({ tablespaces: [...cluster.tablespaces, { oid: 9, location: '/mnt/new' }] });
    expect(problemsOf(since)).toEqual([]);
    const notes = notesInPlace({ ...facts, ...since }, plan);
    expect(notes[0]).toContain('/mnt/new was made after the base backup');
    expect(layOut({ ...facts, ...since }, manifest, 't').tablespaces).toHaveLength(1);
  });

  it('keeps a tablespace where the live cluster has it by now', () => {
    const moved = withCluster({ tablespaces: [{ oid: 16400, location: '/mnt/moved' }] });
    const { tablespaces } = layOut({ ...facts, ...moved }, manifest, '20260117_085459');
    expect(tablespaces[0]).toEqual({
      oid: 16400,
      location: '/mnt/moved',
      recovered: '/mnt/moved/recovered_20260117_085459',
      before: '/mnt/moved/before_20260117_085459',
    });
  });

  it('refuses a tablespace within the data directory, and says how to give it a place that then counts', () => {
    const inside = [{ ...SPACE, location: 'pg_tblspc/16400' }];
    const folded = { ...plan, base: { manifest: { ...manifest, tablespaces: inside } } } as RecoveryPlan;
    const found = (changes: Partial<InPlaceFacts>): LifeboatError[] =>
      findInPlaceProblems({ ...facts, ...changes }, folded, { replace: false });
    const [problem, ...others] = found(withCluster({ tablespaces: [] }));
    expect([problem?.code, others]).toEqual(['RESTORE_REFUSED', []]);
    expect(problem?.message).toContain('16400 of the base backup lies within the data directory');
    expect(problem?.hint).toContain('ln -s /srv/tablespace_16400 /srv/data/pg_tblspc/16400');
    expect(found(without)[0]?.hint).toContain('--data-dir, without --in-place');
    expect(found(withCluster({ tablespaces: [{ oid: 16400, location: '/srv/tablespace_16400' }] }))).toEqual(
      [],
    );
  });

  it('counts the room on each disk: WAL beside the data directory', () => {
    expect(roomNeeded(layOut(facts, manifest, 't'), plan)).toEqual([
      { path: '/srv/data_recovered_t', bytes: 2000 },
      { path: '/mnt/fast', bytes: 300 },
    ]);
  });

  it('says what stays in the old directory when the live cluster goes on', () => {
    expect(notesInPlace(facts, plan)[0]).toContain('Stop the application first');
    expect(notesInPlace({ ...facts, ...withCluster({ walLink: '/wal' }) }, plan)[0]).toContain(
      'link to /wal',
    );
    expect(notesInPlace(without, plan)).toEqual([]);
  });
});

/** Names of folders, and where links lead. */
class Tree {
  readonly names: Set<string>;
  readonly links: Map<string, string>;

  constructor(names: Iterable<string>, links: readonly (readonly [string, string])[]) {
    this.names = new Set(names);
    this.links = new Map(links);
  }

  apply(moves: InPlaceJournal['moves']): void {
    for (const move of moves) {
      if (move.kind === 'rename') this.#rename(move);
      else if (this.names.has(move.link.replace(/\/pg_tblspc\/.*/, ''))) this.links.set(move.link, move.to);
    }
  }

  #rename({ from, to, own }: Extract<InPlaceJournal['moves'][number], { kind: 'rename' }>): void {
    if (own === 'to' ? this.names.has(to) : !this.names.has(from)) {
      if (!this.names.has(to)) throw new Error(`neither ${from} nor ${to}`);
      return;
    }
    if (!this.names.delete(from) || this.names.has(to)) throw new Error(`${from} to ${to}: not possible`);
    this.names.add(to);
    for (const [link, target] of this.links) {
      if (!link.startsWith(`${from}/`)) continue;
      this.links.delete(link);
      this.links.set(to + link.slice(from.length), target);
    }
  }

  get state(): { readonly names: string[]; readonly links: Readonly<Record<string, string>> } {
    return { names: [...this.names].toSorted(), links: Object.fromEntries(this.links) };
  }
}

describe('The moves of a recovery in place', () => {
  const layout = layOut(facts, manifest, 't');
  const moves = planMoves(layout, {
    versionFolder: 'PG_15_1',
    kept: new Set([16400]),
    occupied: new Set([16400]),
    live: new Map([[16400, [16400]]]),
  });
  const start = (): Tree =>
    new Tree(
      ['/srv/data', '/srv/data_recovered_t', '/mnt/fast/PG_15_1', '/mnt/fast/recovered_t/PG_15_1'],
      [
        ['/srv/data/pg_tblspc/16400', '/mnt/fast'],
        ['/srv/data_recovered_t/pg_tblspc/16400', '/mnt/fast/recovered_t'],
      ],
    );

  it('lead to two whole clusters, and back', () => {
    const tree = start();
    tree.apply(moves);
    expect(tree.state).toEqual({
      names: ['/mnt/fast/PG_15_1', '/mnt/fast/before_t/PG_15_1', '/srv/data', '/srv/data_before_t'],
      links: {
        '/srv/data/pg_tblspc/16400': '/mnt/fast',
        '/srv/data_before_t/pg_tblspc/16400': '/mnt/fast/before_t',
      },
    });
    tree.apply(reversed(moves));
    expect(tree.state).toEqual(start().state);
  });

  it('can be finished and taken back wherever they were interrupted, also on the way back', () => {
    const done = start();
    done.apply(moves);
    for (let made = 0; made <= moves.length; made += 1) {
      const forth = start();
      forth.apply(moves.slice(0, made));
      forth.apply(moves);
      expect(forth.state).toEqual(done.state);
      const back = start();
      back.apply(moves.slice(0, made));
      back.apply(reversed(moves));
      expect(back.state).toEqual(start().state);
      const again = start();
      again.apply(moves);
      again.apply(reversed(moves).slice(0, made));
      again.apply(moves);
      expect(again.state).toEqual(done.state);
    }
  });

  it('need all that they move before the first one, there and back, and nothing in the way', () => {
    const expectReady = (tree: Tree, way: InPlaceJournal['moves']): void => {
      const { there, absent } = placesFor(way);
      expect(there.filter((name) => !tree.names.has(name))).toEqual([]);
      expect(absent.filter((name) => tree.names.has(name))).toEqual([]);
      expect(there).toHaveLength(4);
      expect(absent).toHaveLength(2);
    };
    const tree = start();
    expectReady(tree, moves);
    tree.apply(moves);
    expectReady(tree, reversed(moves));
    expect(placesFor(reversed(moves)).there).toContain('/srv/data_before_t');
  });

  it('leave nobody a half-made data directory: there is none while anything is on its way', () => {
    const tree = start();
    for (const [index, move] of moves.entries()) {
      tree.apply([move]);
      expect(tree.names.has('/srv/data')).toBe(index === moves.length - 1);
    }
  });

  it('leave the old cluster its files, under whatever number it has them in that location by now', () => {
    const anew = planMoves(layout, {
      versionFolder: 'PG_15_1',
      kept: new Set([16400]),
      occupied: new Set([16400]),
      live: new Map([[16400, [20000]]]),
    });
    const tree = new Tree(start().names, [
      ['/srv/data/pg_tblspc/20000', '/mnt/fast'],
      ['/srv/data_recovered_t/pg_tblspc/16400', '/mnt/fast/recovered_t'],
    ]);
    const { links } = tree.state;
    tree.apply(anew);
    expect(tree.state.links).toEqual({
      '/srv/data/pg_tblspc/16400': '/mnt/fast',
      '/srv/data_before_t/pg_tblspc/20000': '/mnt/fast/before_t',
    });
    tree.apply(reversed(anew));
    expect(tree.state.links).toEqual(links);
  });

  it('pass over a tablespace that was dropped before the target', () => {
    const none = { versionFolder: '', kept: new Set<number>(), occupied: new Set<number>() };
    expect(planMoves(layout, { ...none, live: new Map() })).toEqual([
      { kind: 'rename', from: '/srv/data', to: '/srv/data_before_t', own: 'to' },
      { kind: 'rename', from: '/srv/data_recovered_t', to: '/srv/data', own: 'from' },
    ]);
  });

  it('move what a lost cluster left in its tablespaces aside', () => {
    const tree = new Tree(
      ['/srv/data_recovered_t', '/mnt/fast/PG_15_1', '/mnt/fast/recovered_t/PG_15_1'],
      [['/srv/data_recovered_t/pg_tblspc/16400', '/mnt/fast/recovered_t']],
    );
    const found = {
      versionFolder: 'PG_15_1',
      kept: new Set([16400]),
      occupied: new Set([16400]),
      live: new Map<number, number[]>(),
    };
    tree.apply(planMoves(layOut(without, manifest, 't'), found));
    expect([...tree.names].toSorted()).toEqual([
      '/mnt/fast/PG_15_1',
      '/mnt/fast/before_t/PG_15_1',
      '/srv/data',
    ]);
  });
});

describe('The journal of a recovery in place', () => {
  const judge = (
    phase: InPlaceJournal['phase'] | undefined,
    wish: Parameters<typeof judgeJournal>[1],
  ): string => {
    const journal = { phase, startedAt: '2026-01-17T09:00:00Z', target: 'x', dataDir: '/srv/data' };
    try {
      return judgeJournal(phase && (journal as InPlaceJournal), wish);
    } catch (error) {
      return (error as LifeboatError).code;
    }
  };

  it('says whether one may begin, go on, or go back', () => {
    const phases = [undefined, 'preparing', 'switching', 'done', 'undoing', 'undone'] as const;
    const table = phases.map((phase) => [
      phase,
      judge(phase, 'begin'),
      judge(phase, 'finish'),
      judge(phase, 'undo'),
    ]);
    expect(table).toEqual([
      [undefined, 'go', 'RESTORE_REFUSED', 'RESTORE_REFUSED'],
      ['preparing', 'clear', 'RESTORE_REFUSED', 'RESTORE_REFUSED'],
      ['switching', 'IN_PLACE_UNFINISHED', 'go', 'go'],
      ['done', 'go', 'RESTORE_REFUSED', 'go'],
      ['undoing', 'IN_PLACE_UNFINISHED', 'go', 'go'],
      ['undone', 'go', 'go', 'RESTORE_REFUSED'],
    ]);
  });

  it('of a recovery that was ended before it switched leaves the one before to be taken back', () => {
    const before: InPlaceJournal = {
      schemaVersion: 1,
      kind: 'recovery in place',
      runId: 'first',
      startedAt: '2026-01-17T09:00:00.000Z',
      phase: 'done',
      target: 'x',
      service: { kind: 'systemd', unit: 'postgresql.service' },
      dataDir: '/srv/data',
      before: '/srv/data_before_t',
      recovered: '/srv/data_recovered_t',
      start: true,
      wasRunning: true,
      moves: [],
      emptied: [],
      previous: null,
    };
    const preparing: InPlaceJournal = { ...before, runId: 'second', phase: 'preparing' };
    expect(journalThatCounts({ ...preparing, previous: formatInPlaceJournal(before) })).toEqual(before);
    expect(journalThatCounts(preparing)).toBe(preparing);
    expect(journalThatCounts(before)).toBe(before);
    expect(journalThatCounts(undefined)).toBeUndefined();
  });
});
