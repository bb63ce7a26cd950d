import { sniffCompression, sniffFormat } from '../../../lib/domain/restore/inspection.ts';

describe('sniffCompression', () => {
  it('goes by the first bytes alone', () => {
    expect(sniffCompression(Buffer.from([0x1f, 0x8b, 8, 0]))).toBe('gzip');
    expect(sniffCompression(Buffer.from([0x28, 0xb5, 0x2f, 0xfd]))).toBe('zstd');
    expect(sniffCompression(Buffer.from([0x5a, 0x2a, 0x4d, 0x18]))).toBe('zstd');
    expect(sniffCompression(Buffer.from('PGDMP'))).toBe('none');
    expect(sniffCompression(Buffer.from(''))).toBe('none');
  });
});

describe('sniffFormat', () => {
  it('knows pg_dump’s two formats', () => {
    expect(sniffFormat('PGDMP\u0001\u000e')).toBe('custom');
    expect(sniffFormat('--\n-- PostgreSQL database dump\n--\n')).toBe('plain');
    expect(sniffFormat('--\r\n-- PostgreSQL database dump\r\n')).toBe('plain');
    expect(sniffFormat('--\n-- PostgreSQL database cluster dump\n--\n')).toBe('plain');
  });

  it.each(['', 'SELECT 1;', '<html>', '-- MySQL dump 10.13', '\u0000\u0000\u0000'])(
    'takes %j for no dump',
    (head) => {
      expect(sniffFormat(head)).toBeUndefined();
    },
  );
});
