import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { formatInPlaceJournal, type InPlaceJournal } from '../../../lib/domain/base/in-place-journal.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { resumeInPlace } from '../../../scripts/agent/commands/recover/resume-in-place.ts';
import { openInPlaceSite } from '../../../scripts/agent/recovery/in-place-site.ts';

type Ports = Parameters<typeof resumeInPlace>[0];

/** Real directories; a service that is written down. */
describe('Going on with a recovery in place', () => {
  let root: string;
  let dataDir: string;
  let before: string;
  let recovered: string;
  /** What was done, in order. */
  let did: string[];
  let runs: boolean;
  let answer: boolean;
  let starts: boolean;
  let told: string[];
  let warned: string[];
  let s3: () => Promise<void>;

  beforeEach(() => {
    root = realpathSync(mkdtempSync(path.join(tmpdir(), 'lifeboat-resume-')));
    dataDir = path.join(root, 'data');
    before = path.join(root, 'data_before_20260117_085459');
    recovered = path.join(root, 'data_recovered_20260117_085459');
    [did, runs, answer, starts] = [[], true, true, true];
    [told, warned, s3] = [[], [], async () => undefined];
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  const cluster = (folder: string, name: string): void => {
    mkdirSync(folder);
    writeFileSync(path.join(folder, 'name'), name);
  };
  /** With a control file, as of PostgreSQL 11 to 18. */
  const started = (folder: string, name: string, timeline: number, system = 7300000000000000001n): void => {
    cluster(folder, name);
    mkdirSync(path.join(folder, 'global'));
    mkdirSync(path.join(folder, 'pg_tblspc'));
    writeFileSync(path.join(folder, 'PG_VERSION'), '15\n');
    const control = Buffer.alloc(8192);
    control.writeBigUInt64LE(system);
    control.writeUInt32LE(timeline, 48);
    writeFileSync(path.join(folder, 'global/pg_control'), control);
  };
  const live = (): string | undefined =>
    existsSync(dataDir) ? readFileSync(path.join(dataDir, 'name'), 'utf8') : undefined;

  function journalOf(phase: InPlaceJournal['phase']): InPlaceJournal {
    return {
      schemaVersion: 1,
      kind: 'recovery in place',
      runId: 'run',
      startedAt: '2026-01-17T09:00:00.000Z',
      phase,
      target: '2026-01-17T08:54:59Z',
      service: { kind: 'commands', stop: ['stop'], start: ['start'] },
      dataDir,
      before,
      recovered,
      start: true,
      wasRunning: true,
      moves: [
        { kind: 'rename', from: dataDir, to: before, own: 'to' },
        { kind: 'rename', from: recovered, to: dataDir, own: 'from' },
      ],
      emptied: [],
      previous: null,
    };
  }

  const file = (): string => `${dataDir}.lifeboat-in-place.json`;
  const write = (journal: InPlaceJournal): void => writeFileSync(file(), formatInPlaceJournal(journal));
  const phase = (): string => (JSON.parse(readFileSync(file(), 'utf8')) as InPlaceJournal).phase;

  const ports: Ports = {
    site: openInPlaceSite({ app: 'hostmaster', stores: {} as never }),
    services: {
      survey: () => Promise.reject(new Error('not asked for')),
      postmaster: async () => (runs ? 4711 : undefined),
      stop: async () => {
        did.push('stop');
        runs = false;
      },
      start: async () => {
        did.push(`start ${live()}`);
        if (!starts && live() === 'recovered') throw new LifeboatError('SERVICE_FAILED', 'it did not start');
        runs = true;
      },
    },
    host: {
      lock: async (name: string) => {
        did.push(`lock ${name}`);
        return { release: async () => undefined };
      },
    } as unknown as Ports['host'],
    clock: {
      now: () => new Date('2026-01-17T09:30:00.123Z'),
      monotonic: () => 0,
      sleep: async () => undefined,
    },
    log: { info: () => undefined, warn: (line) => void warned.push(line) },
    app: 'hostmaster',
    stores: {
      state: {
        kind: 's3',
        putOnce: async (key: string) => {
          await s3();
          told.push(key);
        },
      },
    } as unknown as Ports['stores'],
    confirm: async (question) => {
      did.push(question);
      return answer;
    },
  };

  const resume = async (wish: 'finish' | 'undo', confirmed = true, named = dataDir): Promise<string> => {
    try {
      await resumeInPlace(ports, { wish, dataDir: named, confirmed });
      return 'done';
    } catch (error) {
      return (error as LifeboatError).message;
    }
  };
  const expectUntouched = (name: string, was: InPlaceJournal['phase']): void => {
    expect([live(), phase(), runs, did.slice(1)]).toEqual([name, was, true, []]);
  };

  it('goes back to the old cluster, and on to the recovered one again', async () => {
    cluster(dataDir, 'recovered');
    cluster(before, 'old');
    write(journalOf('done'));
    expect([await resume('undo'), live(), phase()]).toEqual(['done', 'old', 'undone']);
    expect([await resume('finish'), live(), phase()]).toEqual(['done', 'recovered', 'done']);
    expect(did.filter((each) => !each.startsWith('lock'))).toEqual([
      'stop',
      'start old',
      'stop',
      'start recovered',
    ]);
  });

  it('tells S3 which timeline was put back, for its next commit is not there yet', async () => {
    started(dataDir, 'recovered', 3);
    started(before, 'old', 2);
    write(journalOf('done'));
    const key = 'journal/hostmaster/7300000000000000001/in-use/00000002-20260117T093000.123Z.json';
    expect([await resume('undo'), told, warned]).toEqual(['done', [key], []]);
    told = [];
    const next = 'journal/hostmaster/7300000000000000001/in-use/00000003-20260117T093000.123Z.json';
    expect([await resume('finish'), told]).toEqual(['done', [next]]);
    s3 = () => Promise.reject(new LifeboatError('S3_UNAVAILABLE', 'S3 is away'));
    expect([await resume('undo'), live(), phase()]).toEqual(['done', 'old', 'undone']);
    expect(warned).toEqual([expect.stringMatching(/S3 is away.* Until its next commit is there, name it/)]);
  });

  it('tells S3 nothing of another cluster that had been moved aside', async () => {
    started(dataDir, 'recovered', 3);
    started(before, 'old', 1, 7399999999999999999n);
    write(journalOf('done'));
    expect([await resume('undo'), live(), told, warned]).toEqual(['done', 'old', [], []]);
  });

  it('stops nothing when the old cluster was removed, as the runbook says', async () => {
    cluster(dataDir, 'recovered');
    write(journalOf('done'));
    expect(await resume('undo')).toContain(`${before} is not there any more`);
    expectUntouched('recovered', 'done');
  });

  it('stops nothing when the recovered cluster was removed after it did not start', async () => {
    cluster(dataDir, 'old');
    cluster(recovered, 'recovered');
    write(journalOf('undone'));
    starts = false;
    expect(await resume('finish')).toMatch(/it did not start\nThe old cluster is back/);
    did = [];
    rmSync(recovered, { recursive: true });
    expect(await resume('finish')).toContain(`${recovered} is not there any more`);
    expectUntouched('old', 'undone');
  });

  it('stops nothing when something lies where the live cluster is to go', async () => {
    cluster(dataDir, 'old');
    cluster(recovered, 'recovered');
    cluster(before, 'somebody’s');
    write(journalOf('undone'));
    expect(await resume('finish')).toContain(`${before} is in the way`);
    expectUntouched('old', 'undone');
  });

  it('does not take what is missing at both ends for moved', async () => {
    cluster(recovered, 'recovered');
    write(journalOf('undoing'));
    runs = false;
    expect(await resume('undo')).toMatch(/Cannot rename .*: there is neither of them/);
    expect(did.slice(1)).toEqual(['stop']);
  });

  it('asks before it stops a service, and takes no for an answer', async () => {
    cluster(dataDir, 'recovered');
    cluster(before, 'old');
    write(journalOf('done'));
    answer = false;
    expect(await resume('undo', false)).toContain('not confirmed');
    const asked = `Stop the server (by the commands given). Put the old cluster into ${dataDir}? What is there now is kept as ${recovered}.`;
    expect([live(), phase(), runs, did.slice(1)]).toEqual(['recovered', 'done', true, [asked]]);
    answer = true;
    expect([await resume('undo', false), live()]).toEqual(['done', 'old']);
  });

  it('goes on after a power cut without asking, since no server runs', async () => {
    cluster(recovered, 'recovered');
    cluster(before, 'old');
    write(journalOf('switching'));
    [runs, answer] = [false, false];
    expect([await resume('finish', false), live()]).toEqual(['done', 'recovered']);
  });

  it('takes the same lock, and finds its journal, by whatever name the data directory is given', async () => {
    const alias = path.join(root, 'alias');
    symlinkSync(dataDir, alias);
    cluster(recovered, 'recovered');
    cluster(before, 'old');
    write(journalOf('switching'));
    expect(await resume('undo', true, alias)).toBe('done');
    expect(await resume('finish', true, alias)).toBe('done');
    expect(did.filter((each) => each.startsWith('lock'))).toEqual(Array(2).fill(`lock in-place:${dataDir}`));
    expect(await ports.site.journaled([alias, dataDir])).toEqual([dataDir]);
  });

  it('takes back the one before when a later one was killed while it was prepared', async () => {
    cluster(dataDir, 'recovered');
    cluster(before, 'old');
    const half = path.join(root, 'data_recovered_20260118_101010');
    cluster(half, 'half-made');
    write({
      ...journalOf('preparing'),
      recovered: half,
      previous: formatInPlaceJournal(journalOf('done')),
    });
    expect([await resume('undo'), live(), existsSync(half)]).toEqual(['done', 'old', false]);
  });
});
