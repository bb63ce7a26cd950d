import { LogExtract } from '../../../lib/domain/run/log-extract.ts';
import { boundResult } from '../../../lib/domain/run/result-bounds.ts';
import {
  findVerdict,
  formatVerdict,
  formatVerdictLine,
  runResultSchema,
  type RunResult,
} from '../../../lib/domain/run/result.ts';

const RESULT: RunResult = {
  schemaVersion: 1,
  runId: '20260117T020000Z-3f9a0c1b2d4e',
  operation: 'backup',
  app: 'hostmaster',
  database: 'hostmaster_prod',
  host: 'db1',
  instanceId: 'i-0123456789abcdef0',
  nonce: '00112233445566778899aabbccddeeff',
  commandId: null,
  agentVersion: '0.1.0',
  startedAt: '2026-01-17T02:00:01Z',
  finishedAt: '2026-01-17T02:00:46Z',
  durationMs: 45_000,
  warnings: [],
  outcome: null,
  failure: { code: 'DUMP_FAILED', message: 'pg_dump ended', hint: 'See above' },
  exitStatus: 4,
};

const NASTY = ['x', 'é', '🔄', '\u0000', '\n', '"', '\uD800', '\u2028'];

const bytes = (value: unknown): number => Buffer.byteLength(JSON.stringify(value, null, 1));

describe('A verdict', () => {
  it.each(NASTY)(
    'with a message of nothing but %j is one line of at most 2 KB, and found again',
    (character) => {
      const failure = { code: 'DUMP_FAILED', message: character.repeat(5000), hint: '' };
      const line = formatVerdict({ ...RESULT, failure });
      expect(Buffer.byteLength(line)).toBeLessThanOrEqual(2048);
      expect(line).not.toContain('\n');
      expect(findVerdict(`${line}\nlog\n${line}\n`)).toMatchObject({ succeeded: false, exitStatus: 4 });
    },
  );

  it('of a refused run names the refusal', () => {
    const verdict = { runId: 'unknown', succeeded: false, exitStatus: 2, code: 'USAGE', message: 'no' };
    expect(findVerdict(formatVerdictLine(verdict))).toEqual(verdict);
  });
});

describe('A result', () => {
  it.each(NASTY)('whose every text is nothing but %j has at most 64 KB and is still valid', (character) => {
    const long = character.repeat(20_000);
    const report = {
      kind: 'report',
      lines: Array.from({ length: 5000 }, () => long),
      json: { long },
    } as const;
    const failure = { code: 'DUMP_FAILED', message: long, hint: long };
    const warnings = Array.from({ length: 500 }, () => long);
    const of = [
      { ...RESULT, failure, warnings },
      { ...RESULT, failure, warnings, outcome: report },
      { ...RESULT, failure: null, exitStatus: 0, warnings, outcome: { ...report, lines: [...report.lines] } },
    ].map((result) => boundResult(result as RunResult));
    for (const result of of) {
      expect(bytes(result)).toBeLessThanOrEqual(64 * 1024);
      expect(() => runResultSchema.parse(result)).not.toThrow();
      expect(result.runId).toBe(RESULT.runId);
    }
    expect(of[0]!.failure!.message.length).toBeGreaterThan(1000);
  });

  it('of usual length stays as it is', () => {
    const outcome = { kind: 'report', lines: ['one', 'two'], json: { succeeded: true } } as const;
    const result = { ...RESULT, warnings: ['careful'], outcome: { ...outcome, lines: [...outcome.lines] } };
    expect(boundResult(result)).toEqual(result);
  });

  it('says how much was left out', () => {
    const warnings = Array.from({ length: 25 }, (_, index) => `warning ${index}`);
    expect(boundResult({ ...RESULT, warnings }).warnings.at(-1)).toBe('… and 5 more');
  });
});

describe('The extract of a log', () => {
  it('is all of a short log, in whatever pieces it came', () => {
    const extract = new LogExtract();
    for (const piece of ['one\ntw', 'o\n', 'thr', 'ee']) extract.add(piece);
    expect(extract.end()).toEqual(['one', 'two', 'three']);
  });

  it('is the beginning and the end of a long one, and says how many lines are missing', () => {
    const extract = new LogExtract();
    for (let line = 0; line < 20_000; line += 1) extract.add(`line ${line}\n`);
    const lines = extract.end();
    expect(Buffer.byteLength(lines.join('\n'))).toBeLessThanOrEqual(19.5 * 1024);
    expect(lines.slice(0, 2)).toEqual(['line 0', 'line 1']);
    expect(lines.at(-1)).toBe('line 19999');
    const left = Number(/^… (\d+) lines left out …$/.exec(lines.find((line) => line.startsWith('…'))!)![1]);
    expect(lines.length - 1 + left).toBe(20_000);
  });

  it.each(['é', '🔄'])('holds no more than that of lines without end, of %s', (character) => {
    const extract = new LogExtract();
    for (let piece = 0; piece < 100; piece += 1) extract.add(character.repeat(10_000));
    extract.add('\n');
    for (let line = 0; line < 100; line += 1) extract.add(`${character.repeat(5000)}\n`);
    expect(Buffer.byteLength(extract.end().join('\n'))).toBeLessThanOrEqual(19.5 * 1024);
  });
});
