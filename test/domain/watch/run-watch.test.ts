import {
  decideRun,
  groupRuns,
  watchedDays,
  type SeenRun,
  type WatchedRun,
} from '../../../lib/domain/watch/run-watch.ts';
import { watchedFolders, isDue } from '../../../lib/domain/watch/places.ts';
import { parseDeploymentConfig } from '../../../lib/domain/deployment/config.ts';

const RUN_ID = '20260117T020000Z-0123456789ab';
const T0 = new Date('2026-01-17T02:00:00Z');
const request = { requestedAt: T0.toISOString(), deadline: '2026-01-17T09:10:00.000Z' };

function at(minutes: number): Date {
  return new Date(T0.getTime() + minutes * 60_000);
}

function decide(written: Record<string, number>, minutes: number, change: Partial<WatchedRun> = {}) {
  const times = Object.fromEntries(Object.entries(written).map(([name, time]) => [name, at(time)]));
  const run: SeenRun = { runId: RUN_ID, written: times };
  return decideRun({ run, request, command: undefined, runMinutes: 360, ...change }, at(minutes));
}

describe('what is to be done about a run', () => {
  it.each([
    ['reported', { request: 0, command: 0, report: 5, reported: 5 }, 10_000, { do: 'nothing' }],
    ['claimed just now', { request: 0, command: 0, report: 5 }, 14, { do: 'nothing' }],
    ['claimed and never published', { request: 0, command: 0, report: 5 }, 16, { do: 'publish' }],
    ['finished just now', { request: 0, command: 0, result: 5 }, 14, { do: 'nothing' }],
    ['finished and never reported', { request: 0, command: 0, result: 5 }, 16, { do: 'report result' }],
    ['at work', { request: 0, command: 0 }, 180, { do: 'wait', share: 0.5 }],
    ['not sent yet', { request: 0 }, 5, { do: 'nothing' }],
    ['never sent', { request: 0 }, 431, { do: 'report lost', commandSent: false }],
    ['nobody’s: without a request', { result: 0 }, 431, { do: 'nothing' }],
  ] as const)('that is %s', (_, written, minutes, action) => {
    expect(decide(written, minutes)).toEqual(action);
  });

  it('of which nothing is heard, once its time is over: counted from when its command was sent', () => {
    const command = { commandId: 'c', sentAt: T0.toISOString() };
    expect(decide({ request: 0, command: 0 }, 430, { command })).toMatchObject({ do: 'wait' });
    expect(decide({ request: 0, command: 0 }, 431, { command })).toEqual({
      do: 'report lost',
      commandSent: true,
    });
    expect(decide({ request: 0, command: 50 }, 480, { command })).toMatchObject({ do: 'wait' });
    expect(decide({ request: 0, command: 50 }, 481, { command })).toMatchObject({ do: 'report lost' });
  });

  it('that SSM took no command for', () => {
    const refused = { name: 'InvalidInstanceId', message: 'not in a valid state' };
    const command = { commandId: null, sentAt: T0.toISOString(), refused };
    expect(decide({ request: 0, command: 0 }, 5, { command })).toEqual({ do: 'report refused', refused });
  });
});

describe('the listing of runs', () => {
  it('covers the longest run, and one that was named for tomorrow', () => {
    expect(watchedDays('database', T0)).toEqual(
      ['18', '17', '16', '15', '14', '13'].map((day) => `database/runs/2026/01/${day}/`),
    );
  });

  it('takes what is none of a run for nothing', () => {
    const folder = `database/runs/2026/01/17/${RUN_ID}`;
    const keys = [
      `${folder}/request.json`,
      `${folder}/result.json`,
      `${folder}/other.json`,
      'database/runs/x.json',
    ];
    const objects = [...keys, `database/runs/2026/01/18/${RUN_ID}/report.json`].map((key) => ({
      key,
      modifiedAt: T0,
    }));
    expect(groupRuns('database', objects)).toEqual([{ runId: RUN_ID, written: { request: T0, result: T0 } }]);
  });
});

describe('the folders', () => {
  const config = parseDeploymentConfig(
    {
      series: [
        { app: 'a', database: 'a', host: { instanceId: 'i-0123456789abcdef0' } },
        { app: 'b', database: 'b', host: { tag: { key: 'k', value: 'v' } } },
        { app: 'c', database: 'c', host: { tag: { key: 'k', value: 'w' } } },
      ],
    },
    'test',
  );

  it('are one for each series of a fixed host, and one for each host that was chosen by tag', () => {
    expect(watchedFolders(config, ['i-00000001', 'i-00000002', 'i-00000001'])).toEqual([
      { prefix: 'database', apps: ['a'], instanceId: 'i-0123456789abcdef0' },
      { prefix: 'database/i-00000001', apps: ['b', 'c'], instanceId: 'i-00000001' },
      { prefix: 'database/i-00000002', apps: ['b', 'c'], instanceId: 'i-00000002' },
    ]);
  });

  it('have their turn once an hour and once a day, spread over all slots', () => {
    const folders = Array.from({ length: 1000 }, (_, index) => ({
      prefix: `database/i-${String(index).padStart(17, '0')}`,
      apps: ['a'],
      instanceId: '',
    }));
    const slots = Array.from({ length: 288 }, (_, slot) => at(slot * 5));
    const listed = slots
      .slice(0, 12)
      .map((now) => folders.filter((folder) => isDue('listing', folder, now)).length);
    expect(listed.reduce((sum, count) => sum + count, 0)).toBe(folders.length);
    expect(Math.max(...listed)).toBeLessThan(150);
    const tagged = slots.map((now) => folders.filter((folder) => isDue('tagging', folder, now)).length);
    expect(tagged.reduce((sum, count) => sum + count, 0)).toBe(folders.length);
    expect(Math.max(...tagged)).toBeLessThan(20);
  });
});
