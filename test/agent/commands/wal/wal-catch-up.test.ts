import { randomBytes } from 'node:crypto';
import { segmentName } from '../../../../lib/domain/wal/segment.ts';
import { catchUp, type CatchUpRequest } from '../../../../scripts/agent/commands/wal/wal-catch-up.ts';
import { WalReceiver } from '../../../../scripts/agent/commands/wal/wal-receiver.ts';
import type { ResumePoints } from '../../../../scripts/agent/commands/wal/wal-resume.ts';
import type { ReplicationServer } from '../../../../scripts/agent/ports/replication.ts';
import type { LocalWal, WalServer, WalServerFacts } from '../../../../scripts/agent/ports/wal.ts';
import { memoryArchive, type MemoryArchive } from './wal-memory-archive.ts';

const SIZE = 1024 * 1024;
const at = (index: number): bigint => BigInt((7 + index) * SIZE);
const name = (index: number): string => segmentName(1, at(index), SIZE);
const WAL = randomBytes(40 * SIZE);

interface Ground {
  readonly archive: MemoryArchive;
  /** Names of the segments that are in the folder. */
  readonly files: Set<string>;
  /** Of those that are there, but not to be taken. */
  readonly unfit: Set<string>;
  /** What the slot was set to, in order. */
  readonly advanced: bigint[];
  readonly announced: number[];
  readonly warned: string[];
  /** @param written segments that the server has flushed */
  run(written: number, points: ResumePoints, changes?: Changes): Promise<ResumePoints>;
}

interface Changes {
  readonly facts?: Partial<WalServerFacts>;
  readonly interrupted?: AbortSignal;
  readonly timeline?: number;
  readonly refuseAdvance?: boolean;
  /** Of the server that streams. */
  readonly systemIdentifier?: string;
  /** Segments that are written between two questions how many there are. */
  readonly writing?: number;
}

const FACTS: WalServerFacts = {
  versionNumber: 150018,
  systemIdentifier: '7300000000000000001',
  standby: false,
  timeline: 1,
  flushLsn: 0n,
  now: new Date(0),
  segmentSize: SIZE,
  slotCapBytes: undefined,
  pushes: undefined,
  slot: undefined,
};

function ground(): Ground {
  const archive = memoryArchive();
  const files = new Set(Array.from({ length: 40 }, (_each, index) => name(index)));
  const unfit = new Set<string>();
  const [advanced, announced, warned]: [bigint[], number[], string[]] = [[], [], []];
  const local: LocalWal = {
    folder: '/data/pg_wal',
    read: async ({ segment }, into) => {
      const index = [...Array(40).keys()].findIndex((each) => name(each) === segment);
      WAL.copy(into, 0, index * SIZE, (index + 1) * SIZE);
      if (unfit.has(segment)) return 'unfit';
      return files.has(segment) ? 'taken' : 'absent';
    },
  };
  const run: Ground['run'] = async (written, points, changes = {}) => {
    const receiver = new WalReceiver({
      archive,
      clock: { now: () => new Date(), monotonic: () => 0, sleep: () => new Promise(() => undefined) },
      segmentSize: SIZE,
      persist: async (write) => await write(),
      onSafe: () => undefined,
      onFailure: () => undefined,
      watchCommits: () => ({ push: () => undefined, pushSegment: () => undefined, last: undefined }),
    });
    let asked = 0;
    const request: CatchUpRequest = {
      connection: {
        identify: async () => ({
          systemIdentifier: changes.systemIdentifier ?? FACTS.systemIdentifier,
          timeline: changes.timeline ?? 1,
          flushLsn: at(written + (changes.writing ?? 0) * asked++) + 100n,
        }),
      } as unknown as ReplicationServer,
      receiver,
      slot: 'slot',
      facts: { ...FACTS, ...changes.facts },
      points,
      interrupted: changes.interrupted ?? new AbortController().signal,
      onCatchUp: (segments) => announced.push(segments),
    };
    const server = {
      advanceSlot: async (_slot: string, lsn: bigint) => {
        if (changes.refuseAdvance) throw new Error('the slot is active');
        advanced.push(lsn);
      },
    } as unknown as WalServer;
    const log = { info: () => undefined, warn: (line: string) => void warned.push(line) };
    return await catchUp({ log, archive, server, findLocalWal: async () => local }, request);
  };
  return { archive, files, unfit, advanced, announced, warned, run };
}

const from = (index: number, compared?: number): ResumePoints => ({
  wanted: { timeline: 1, from: at(index) },
  promised: { timeline: 1, from: at(index) },
  compared: compared === undefined ? undefined : at(compared),
});

function expectHeld({ archive }: Ground, first: number, end: number): void {
  const names = Array.from({ length: end - first }, (_each, index) => name(first + index));
  expect([...archive.objects.keys()].toSorted()).toEqual(names);
  for (const [index, each] of names.entries()) {
    const wal = WAL.subarray((first + index) * SIZE, (first + index + 1) * SIZE);
    expect(archive.objects.get(each)?.equals(wal)).toBe(true);
  }
}

describe('catching up from the server’s own files', () => {
  it('stores every complete segment, tells the server, and has the stream begin behind them', async () => {
    const all = ground();
    // Its last segment is sent again, and the slot holds it until then.
    expect(await all.run(40, from(0))).toEqual(from(40, 39));
    expectHeld(all, 0, 40);
    expect(all.announced).toEqual([40]);
    expect(all.advanced.at(-1)).toBe(at(39));
    expect(all.advanced).toEqual(all.advanced.toSorted((one, other) => (one < other ? -1 : 1)));
  });

  it('compares the segment before with what S3 holds, and goes without where the server has it no more', async () => {
    const same = ground();
    expect(await same.run(10, from(1, 0))).toEqual(from(10, 9));
    expectHeld(same, 0, 10);
    const removed = ground();
    removed.files.delete(name(0));
    expect(await removed.run(10, from(1, 0))).toEqual(from(10, 9));
    expectHeld(removed, 1, 10);
    const other = ground();
    other.archive.objects.set(name(0), randomBytes(SIZE));
    await expect(other.run(10, from(1, 0))).rejects.toMatchObject({ code: 'WAL_CONFLICT' });
    expect([...other.archive.objects.keys()]).toEqual([name(0)]);
    expect(other.advanced).toEqual([]);
    const unfit = ground();
    unfit.unfit.add(name(0));
    expect(await unfit.run(10, from(1, 0))).toEqual(from(1, 0));
    expectHeld(unfit, 0, 0);
  });

  it('takes nothing where the server that streams is another one', async () => {
    const other = ground();
    expect(await other.run(40, from(0), { systemIdentifier: '7300000000000000002' })).toEqual(from(0));
    expectHeld(other, 0, 0);
  });

  it('comes to an end also where more is written all the time', async () => {
    const busy = ground();
    // Asked once before it begins.
    expect(await busy.run(5, from(0), { writing: 5 })).toEqual(from(20, 19));
    expectHeld(busy, 0, 20);
  });

  it('leaves to the server what is not to be had', async () => {
    const gap = ground();
    gap.files.delete(name(7));
    expect(await gap.run(20, from(0))).toEqual(from(7, 6));
    expectHeld(gap, 0, 7);
    const none = ground();
    none.files.clear();
    expect(await none.run(20, from(1, 0))).toEqual(from(1, 0));
    expectHeld(none, 0, 0);
    expect(none.advanced).toEqual([]);
  });

  it('goes on also where the server hears nothing of it, and stops when it is told to', async () => {
    const deaf = ground();
    expect(await deaf.run(40, from(0), { refuseAdvance: true })).toEqual(from(40, 39));
    expectHeld(deaf, 0, 40);
    expect(deaf.warned).toEqual([
      'The slot slot keeps WAL that S3 holds until the stream begins: the slot is active',
    ]);
    const stopped = ground();
    expect(await stopped.run(40, from(0), { interrupted: AbortSignal.abort() })).toEqual(from(0));
    expectHeld(stopped, 0, 0);
  });

  it('is for a primary’s backlog alone, that nobody else streams and the slot holds', async () => {
    const slot = { restartLsn: at(0), status: 'reserved', safeBytes: undefined, stream: undefined } as const;
    const cases: [number, ResumePoints, Changes][] = [
      [3, from(0), {}],
      [20, from(30), {}],
      [20, from(0), { facts: { standby: true, timeline: undefined } }],
      [20, from(0), { facts: { slot: { ...slot, active: true, catchingUp: false } } }],
      [20, from(0), { facts: { timeline: 2 } }],
      [20, from(0), { timeline: 2 }],
      [20, { ...from(0), promised: { timeline: 1, from: at(5) } }, {}],
    ];
    for (const [written, points, changes] of cases) {
      const idle = ground();
      expect(await idle.run(written, points, changes)).toEqual(points);
      expectHeld(idle, 0, 0);
      expect(idle.announced).toEqual([]);
    }
  });
});
