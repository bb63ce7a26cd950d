import {
  describeTarget,
  parseRecoveryRequest,
  parseTargetTime,
  type RecoveryOptions,
} from '../../../lib/domain/base/recovery-target.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';

function refusal(action: () => unknown): LifeboatError {
  try {
    action();
  } catch (error) {
    if (error instanceof LifeboatError) return error;
  }
  throw new Error('it was not refused');
}

describe('The time of a recovery target', () => {
  it.each([
    ['2026-01-17T08:54:59Z', '2026-01-17T08:54:59.000000Z'],
    ['2026-01-17T08:54:59.123456Z', '2026-01-17T08:54:59.123456Z'],
    ['2026-01-17 08:54:59.1Z', '2026-01-17T08:54:59.100000Z'],
    ['2026-01-17 09:54:59+01', '2026-01-17T08:54:59.000000Z'],
    ['2026-01-17 09:54:59 +01:00', '2026-01-17T08:54:59.000000Z'],
    ['2026-01-17T14:24:59+0530', '2026-01-17T08:54:59.000000Z'],
    ['2026-01-17T00:30:00+02:00', '2026-01-16T22:30:00.000000Z'],
    ['2025-12-31T23:30:00-00:45', '2026-01-01T00:15:00.000000Z'],
    ['2026-01-17 08:54 UTC', '2026-01-17T08:54:00.000000Z'],
    [' 2026-01-17 08:54:59 utc ', '2026-01-17T08:54:59.000000Z'],
    ['2024-02-29T12:00:00Z', '2024-02-29T12:00:00.000000Z'],
  ])('is %s the instant %s', (text, instant) => {
    expect(parseTargetTime(text)).toBe(instant);
  });

  it('is refused without a zone, with the form to write it in', () => {
    for (const text of ['2026-01-17T08:54:59', '2026-01-17 08:54', '2026-01-17 08:54:59.123456']) {
      const error = refusal(() => parseTargetTime(text));
      expect(error).toMatchObject({ code: 'USAGE' });
      expect(error.message).toContain(`${JSON.stringify(text)} has no time zone`);
      expect(error.hint).toContain('2026-01-17T08:54:59Z');
    }
  });

  it('is refused where it is none, or its zone is a name', () => {
    for (const text of [
      '',
      'yesterday',
      '2026-01-17',
      '2026-01-17Z',
      '2026-02-30T00:00:00Z',
      '2026-01-17T24:00:01Z',
      '2026-01-17T08:54:60Z',
      '2026-01-17T08:54:59.1234567Z',
      '2026-01-17T08:54:59 CET',
      '2026-01-17T08:54:59 Europe/Berlin',
      '2026-01-17T08:54:59+1',
      '2026-01-17T08:54:59+16:00',
      '2026-01-17T08:54:59+01:60',
      '2026-01-17T08:54:59Zx',
    ]) {
      expect(refusal(() => parseTargetTime(text))).toMatchObject({ code: 'USAGE' });
    }
  });
});

describe('A request for recovery', () => {
  it('has one target, inclusive unless said otherwise', () => {
    const parse = (options: RecoveryOptions): unknown => parseRecoveryRequest(options).target;
    expect(parse({ toTime: '2026-01-17T08:54:59Z' })).toEqual({
      kind: 'time',
      time: '2026-01-17T08:54:59.000000Z',
      inclusive: true,
    });
    expect(parse({ toLsn: '16/B374D848', exclusive: true })).toEqual({
      kind: 'lsn',
      lsn: 0x16b374d848n,
      inclusive: false,
    });
    expect(parse({ toXid: '123456' })).toEqual({ kind: 'xid', xid: 123456, inclusive: true });
    expect(parse({ toName: 'before the big import' })).toEqual({
      kind: 'name',
      name: 'before the big import',
    });
    expect(parse({ latest: true, toName: undefined, immediate: false })).toEqual({ kind: 'latest' });
    expect(parse({ immediate: true })).toEqual({ kind: 'immediate' });
  });

  it('takes the lower half of a 64-bit transaction id, as WAL has it', () => {
    expect(parseRecoveryRequest({ toXid: String(2n ** 32n * 5n + 77n) }).target).toMatchObject({ xid: 77 });
  });

  it('may name the timeline and the base backup', () => {
    const request = parseRecoveryRequest({
      latest: true,
      timeline: '7',
      base: 'hostmaster_base_20260117_020000',
    });
    expect(request).toMatchObject({ timeline: 7, base: 'hostmaster_base_20260117_020000' });
    expect(parseRecoveryRequest({ latest: true })).toEqual({
      target: { kind: 'latest' },
      timeline: undefined,
      base: undefined,
    });
  });

  it.each<[string, RecoveryOptions]>([
    ['no target', {}],
    ['a target switched off', { latest: false }],
    ['two targets', { latest: true, toTime: '2026-01-17T08:54:59Z' }],
    ['an LSN that is none', { toLsn: '1234' }],
    ['a transaction id that is none', { toXid: '12a' }],
    ['a transaction id below the first normal one', { toXid: '2' }],
    ['a transaction id of more than 64 bits', { toXid: String(2n ** 64n + 5n) }],
    ['an empty name', { toName: '' }],
    ['a name with a line break', { toName: "x'\nrestore_command = 'y" }],
    ['a name of 64 bytes', { toName: 'ü'.repeat(32) }],
    ['timeline 0', { latest: true, timeline: '0' }],
    ['a timeline that is none', { latest: true, timeline: 'latest' }],
    ['a base backup that is none', { latest: true, base: 'hostmaster_db_20260117_020000' }],
    ['the latest, exclusively', { latest: true, exclusive: true }],
    ['a name, exclusively', { toName: 'x', exclusive: true }],
  ])('is refused with %s', (_what, options) => {
    expect(refusal(() => parseRecoveryRequest(options))).toMatchObject({ code: 'USAGE' });
  });

  it('is told in words', () => {
    const words = [
      { toTime: '2026-01-17T08:54:59Z' },
      { toLsn: '16/B374D848' },
      { toXid: '99' },
      { toName: 'x' },
      { latest: true },
      { immediate: true },
    ].map((options) => describeTarget(parseRecoveryRequest(options).target));
    expect(words).toEqual([
      '2026-01-17T08:54:59.000000Z',
      'the LSN 16/B374D848',
      'transaction 99',
      'the restore point "x"',
      'the latest commit',
      'the end of the base backup',
    ]);
  });
});
