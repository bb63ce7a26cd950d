import { withoutRestriction } from '../../../scripts/agent/data-path/plain-dump/restriction.ts';

const KEY = 'oT0gS1V';

function dump(first: string, last: string): string {
  return `--\n-- PostgreSQL database dump\n--\n\n${first}\nSELECT E'\\\\';\nCOPY t FROM stdin;\n\\\\N\n\\.\n--\n-- complete\n--\n\n${last}`;
}

async function read(text: string, size: number): Promise<string> {
  const bytes = Buffer.from(text, 'latin1');
  async function* inChunks(): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += size)
      yield await Promise.resolve(Buffer.from(bytes.subarray(at, at + size)));
  }
  let found = '';
  for await (const chunk of withoutRestriction(inChunks())) found += chunk.toString('latin1');
  return found;
}

describe('the restriction that a dump brings along', () => {
  it.each([63, 64, 100, 1 << 20])('becomes two comments, whatever the chunks are: %d bytes', async (size) => {
    const given = dump(`\\restrict ${KEY}`, `\\unrestrict ${KEY}\n\n`);
    expect(await read(given, size)).toBe(dump(`--estrict ${KEY}`, `--nrestrict ${KEY}\n\n`));
    expect(await read(`\xef\xbb\xbf${given}`, 1000)).toContain(`\n--estrict ${KEY}\n`);
  });

  it('is not met anywhere else: not behind a statement, not lifted before the end, not with another key', async () => {
    for (const given of [
      dump('SELECT 1;', ''),
      `SELECT 1;\n${dump(`\\restrict ${KEY}`, `\\unrestrict ${KEY}\n`)}`,
    ])
      expect(await read(given, 100)).toBe(given);
    const lifted = `\\unrestrict ${KEY}\n\\! id\n`;
    expect(await read(dump(`\\restrict ${KEY}`, lifted), 100)).toBe(dump(`--estrict ${KEY}`, lifted));
    const other = `\\unrestrict other\n`;
    expect(await read(dump(`\\restrict ${KEY}`, other), 100)).toBe(dump(`--estrict ${KEY}`, other));
  });
});
