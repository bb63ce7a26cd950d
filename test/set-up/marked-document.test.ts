import { readFileSync } from 'node:fs';
import path from 'node:path';
import { replaceMarked } from '../../scripts/set-up/marked-document.ts';

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
    expect(replaceMarked(DOCUMENT, 'bench:times', ['new', 'table'])).toBe(
      DOCUMENT.replace('\nold table\n', '\n\nnew\ntable\n\n'),
    );
  });

  it('does the same again with the same outcome', () => {
    const once = replaceMarked(DOCUMENT, 'bench:memory', ['table']);
    expect(replaceMarked(once, 'bench:memory', ['table'])).toBe(once);
  });

  it('refuses a document without the markers, rather than lose the table', () => {
    expect(() => replaceMarked('# Numbers', 'bench:times', ['table'])).toThrow(
      'The document has no <!-- bench:times --> … <!-- /bench:times --> to write between',
    );
  });

  it.each([
    ['performance.md', ['bench:times', 'bench:memory', 'bench:pitr']],
    ['reliability.md', ['reliability:exact', 'reliability:kills', 'reliability:outage', 'reliability:soak']],
  ])('finds every place in %s that is written', (name, marks) => {
    const document = readFileSync(path.resolve(import.meta.dirname, '../../docs', name), 'utf8');
    for (const mark of marks) expect(replaceMarked(document, mark, ['figures'])).toContain('figures');
  });
});
