import { readFileSync } from 'node:fs';
import path from 'node:path';

export const ROOT = path.resolve(import.meta.dirname, '../..');

export function readDocument(name: string): string {
  return readFileSync(path.join(ROOT, name), 'utf8');
}

/** Fenced blocks that stand below a comment `<!-- run: name -->`, by that name. */
export function runnableBlocks(text: string): ReadonlyMap<string, string> {
  const blocks = text.matchAll(/<!-- run: (?<name>[^>]+?) -->\n\n```bash\n(?<script>[^]*?)```\n/g);
  return new Map([...blocks].map(({ groups }) => [groups!['name']!, groups!['script']!]));
}

function withoutFences(text: string): string {
  return text.replaceAll(/^ *```[^]*?^ *```$/gm, '');
}

/** What stands between backticks, outside fenced blocks. */
export function codeSpans(text: string): readonly string[] {
  return [...withoutFences(text).matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!);
}

/** Lines of fenced blocks. */
export function codeLines(text: string): readonly string[] {
  const blocks = [...text.matchAll(/^ *```\w*\n(?<body>[^]*?)^ *```$/gm)];
  return blocks.flatMap(({ groups }) => groups!['body']!.split('\n'));
}

/** As GitHub makes them: lower case, punctuation dropped, spaces become dashes. */
export function anchorsOf(text: string): ReadonlySet<string> {
  const titles = [...withoutFences(text).matchAll(/^#+ (.+)$/gm)].map((match) => match[1]!);
  return new Set(
    titles.map((title) =>
      title
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

/** Targets of links that lead to no other site. */
export function localLinks(text: string): readonly string[] {
  const targets = [...withoutFences(text).matchAll(/\]\((?<target>[^)\s]+)\)/g)];
  return targets.map(({ groups }) => groups!['target']!).filter((target) => !/^[a-z]+:/.test(target));
}
