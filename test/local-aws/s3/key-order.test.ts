import { compareKeys } from '../../../scripts/local-aws/s3/key-order.ts';

test('keys are in the order of their UTF-8 bytes', () => {
  const keys = [
    '',
    'a',
    'a ',
    'a/',
    'aa',
    'B',
    'ü',
    '日本',
    '\uffee',
    '😀',
    '😁',
    '\ue000',
    '\u{10ffff}',
    'a\ud800',
  ];
  const byBytes = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  expect([...keys].sort(compareKeys)).toEqual(byBytes);
});
