import { readFileSync } from 'node:fs';
import path from 'node:path';
import { replaceBlock } from '../../scripts/bench/document.ts';

const DOCUMENT = [
  '# Numbers',
  '<!-- bench:times -->',
  'old table',
  '<!-- /bench:times -->',
  'between',
  '<!-- bench:memory -->',
  '<!-- /bench:memory -->',
  'after',
].join('\n');

describe('writing a table into the document', () => {
  it('replaces what stands between the markers and nothing else', () => {
    expect(replaceBlock(DOCUMENT, 'times', ['new', 'table'])).toBe(
      DOCUMENT.replace('\nold table\n', '\n\nnew\ntable\n\n'),
    );
  });

  it('does the same again with the same outcome', () => {
    const once = replaceBlock(DOCUMENT, 'memory', ['table']);
    expect(replaceBlock(once, 'memory', ['table'])).toBe(once);
  });

  it('refuses a document without the markers, rather than lose the table', () => {
    expect(() => replaceBlock('# Numbers', 'times', ['table'])).toThrow(
      'The document has no <!-- bench:times --> … <!-- /bench:times --> to write between',
    );
  });

  it('finds every place in the document that it writes', () => {
    const file = path.resolve(import.meta.dirname, '../../docs/performance.md');
    const document = readFileSync(file, 'utf8');
    for (const block of ['times', 'memory', 'pitr'] as const)
      expect(replaceBlock(document, block, ['table'])).toContain('table');
  });
});
