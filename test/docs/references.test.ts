import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { manifestSchema } from '../../lib/domain/backup/manifest.ts';
import { baseManifestSchema } from '../../lib/domain/base/base-manifest.ts';
import { ERROR_CODES, EXIT_STATUS, LifeboatError } from '../../lib/domain/errors.ts';
import { ENV } from '../../lib/domain/names.ts';
import { runRequestSchema } from '../../lib/domain/run/request.ts';
import { runResultSchema } from '../../lib/domain/run/result.ts';
import { holeRecordSchema } from '../../lib/domain/wal/hole.ts';
import { runAgent } from '../integration/agent-process.ts';
import { anchorsOf, codeLines, codeSpans, localLinks, readDocument, ROOT } from './markdown.ts';

/** The documents against what they describe: whoever changes one side is told about the other. */

const DOCUMENTS = [
  'README.md',
  'CHANGELOG.md',
  'docs/architecture.md',
  'docs/deployment.md',
  'docs/existing-bucket.md',
  'docs/formats.md',
  'docs/performance.md',
  'docs/reliability.md',
  'docs/runbook.md',
] as const;

const README = readDocument('README.md');
const RUNBOOK = readDocument('docs/runbook.md');

/** Names of a help text's section, as in `  --json      print …`. */
function namesIn(help: string, pattern: RegExp): string[] {
  return [...help.matchAll(pattern)].map((match) => match[1]!);
}

async function help(...args: readonly string[]): Promise<string> {
  const end = await runAgent([...args, '--help'], { env: {} });
  if (end.status !== 0) throw new Error(end.printed);
  return end.stdout;
}

const options = new Map<string, ReadonlySet<string>>();
beforeAll(async () => {
  for (const command of commandsIn(await help())) {
    const text = await help(command);
    const below = await Promise.all(commandsIn(text).map((name) => help(command, name)));
    options.set(command, new Set([text, ...below].flatMap((each) => namesIn(each, OPTION))));
  }
});

const OPTION = /^ {2}(?:-\w, )?(--[a-z-]+)/gm;

function commandsIn(text: string): string[] {
  const [, commands = ''] = text.split(/^Commands:$/m);
  return namesIn(commands, /^ {2}([a-z]+)(?= |$)/gm).filter((name) => name !== 'help');
}

/** Every piece of code in a document that runs the agent: its command, and the options behind it. */
function agentCalls(text: string): readonly { command: string; options: readonly string[]; where: string }[] {
  const pieces = [...codeLines(text), ...codeSpans(text)];
  return pieces.flatMap((where) => {
    const call = where.replace(/\s#\s.*$/, '').replace(/\bscripts\/(backup|restore)-db\.sh/g, 'lifeboat $1');
    return [...call.matchAll(/(?:^|[\s/=])(?:lifeboat|nightly) (?<rest>[a-z].*)$/g)].flatMap(({ groups }) => {
      const [command, ...rest] = groups!['rest']!.split(/\s+/);
      if (!/^[a-z]+$/.test(command!)) return [];
      return [{ command: command!, options: rest.filter((word) => /^--[a-z-]+$/.test(word)), where }];
    });
  });
}

describe('Commands and options', () => {
  it.each(['README.md', 'docs/runbook.md', 'docs/formats.md', 'docs/architecture.md', 'CHANGELOG.md'])(
    'that %s names are those of the command line',
    (document) => {
      const unknown = agentCalls(readDocument(document)).filter((call) => {
        const known = options.get(call.command);
        return !known || call.options.some((option) => !known.has(option));
      });
      expect(unknown).toEqual([]);
      const alone = codeSpans(README).filter((span) => /^--[a-z-]+$/.test(span));
      const all = new Set([...options.values()].flatMap((set) => [...set]));
      expect(alone.filter((option) => !all.has(option))).toEqual([]);
    },
  );

  it('of the command line are all in the README', () => {
    expect(options.size).toBeGreaterThanOrEqual(8);
    const headings = anchorsOf(README);
    expect([...options.keys()].filter((command) => !headings.has(command))).toEqual([]);
    const all = new Set([...options.values()].flatMap((set) => [...set]));
    all.delete('--help');
    const text = [...codeSpans(README), ...codeLines(README)].join('\n');
    const missing = [...all].filter((option) => !new RegExp(`(?:^|\\s)${option}(?![a-z-])`, 'm').test(text));
    expect(missing).toEqual([]);
  });
});

describe('Installing as root', () => {
  it('keeps the settings of this moment, which sudo by itself drops', async () => {
    const texts = [...DOCUMENTS.map(readDocument), await help('install')];
    expect(texts.filter((text) => text.includes('sudo lifeboat install'))).toEqual([]);
  });
});

describe('Commands of AWS', () => {
  it.each(['README.md', 'docs/runbook.md', 'docs/deployment.md'])(
    'that %s gives see all of a stack’s resources, not the first hundred',
    (document) => {
      expect(readDocument(document)).not.toContain('describe-stack-resources');
    },
  );
});

describe('Settings', () => {
  it('stand each in a row of the README’s table', () => {
    const rows = new Set([...README.matchAll(/^\| `([A-Z0-9_]+)` /gm)].map((match) => match[1]!));
    expect([...rows].toSorted()).toEqual(Object.values(ENV).toSorted());
  });
});

describe('Exit statuses and error codes', () => {
  it('stand each in the README’s table, with a section of the runbook that is there', () => {
    const cells = [...README.matchAll(/^\| (\d[\d, ]*) \|/gm)].flatMap((match) => match[1]!.split(','));
    const documented = cells.map(Number).toSorted((a, b) => a - b);
    expect(documented).toEqual(Object.values(EXIT_STATUS).toSorted((a, b) => a - b));
  });

  it('stand each under its exit status in the runbook', () => {
    const sections = RUNBOOK.split(/^### /m).filter((section) => section.startsWith('Exit '));
    const misplaced = ERROR_CODES.filter((code) => {
      const status = new LifeboatError(code, '').exitStatus;
      const section = sections.find((text) => new RegExp(`^Exit [^:]*\\b${status}\\b`).test(text));
      return !section?.includes(`\`${code}\``);
    });
    expect(misplaced).toEqual([]);
  });
});

describe('Formats', () => {
  it('name every field of the manifest', () => {
    const spans = new Set(codeSpans(readDocument('docs/formats.md')));
    const { shape } = manifestSchema;
    const fields = Object.entries(shape).flatMap(([name, schema]) =>
      'shape' in schema ? Object.keys(schema.shape).map((field) => `${name}.${field}`) : [name],
    );
    expect(fields.filter((field) => !spans.has(field))).toEqual([]);
  });

  it('name every field of the base manifest and of a hole’s record, in the section on point-in-time recovery', () => {
    const [, section] = readDocument('docs/formats.md').split('\n## Point-in-time recovery\n');
    const spans = new Set(codeSpans(section!.split('\n## ')[0]!));
    const { volumes, databases, tablespaces, backupManifest, host, server, pageChecksums, ...plain } =
      baseManifestSchema.shape;
    const inner = { host, server, pageChecksums };
    const fields = [
      ...Object.keys(plain),
      ...Object.entries(inner).flatMap(([name, { shape }]) =>
        Object.keys(shape).map((field) => `${name}.${field}`),
      ),
      ...[volumes, databases, tablespaces].flatMap(({ element }) => Object.keys(element.shape)),
      ...Object.keys(backupManifest.unwrap().shape),
      ...Object.keys(holeRecordSchema.shape),
    ];
    expect(fields.filter((field) => !spans.has(field))).toEqual([]);
  });
});

describe('Formats of runs', () => {
  const spans = new Set(codeSpans(readDocument('docs/formats.md')));
  const fieldsOf = (shape: Readonly<Record<string, unknown>>, within = ''): string[] =>
    Object.entries(shape).flatMap(([name, schema]) => {
      const inner = schema as { shape?: Record<string, unknown>; def?: { innerType?: { shape?: object } } };
      const fields = inner.shape ?? inner.def?.innerType?.shape;
      return fields ? fieldsOf(fields as Record<string, unknown>, `${name}.`) : [within + name];
    });

  it('name every field of the request', () => {
    expect(fieldsOf(runRequestSchema.shape).filter((field) => !spans.has(field))).toEqual([]);
  });

  it('name every field of the result and of its outcomes', () => {
    const { outcome, failure, ...result } = runResultSchema.shape;
    const outcomes = outcome.unwrap().options.flatMap(({ shape }) => Object.keys(shape));
    const fields = [...Object.keys(result), ...outcomes, ...Object.keys(failure.unwrap().shape)];
    expect(fields.filter((field) => !spans.has(field))).toEqual([]);
  });
});

describe('Links', () => {
  it.each(DOCUMENTS)('of %s lead to files and headings that are there', (document) => {
    const broken = localLinks(readDocument(document)).filter((target) => {
      const [file, anchor] = target.split('#') as [string, string?];
      const to = file === '' ? document : path.join(path.dirname(document), file);
      if (!existsSync(path.join(ROOT, to))) return true;
      return anchor !== undefined && !anchorsOf(readDocument(to)).has(anchor);
    });
    expect(broken).toEqual([]);
  });

  it('in the shape of paths lead to sources that are there', () => {
    const sources = ['bin', 'docs', 'lambda', 'lib', 'scripts', 'test'].flatMap((folder) =>
      readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map(
        (file) => `/${folder}/${file}`,
      ),
    );
    const top = /^(?:lambda|lib|scripts|test|docs)\/[\w./-]+$/;
    // As they are called in prose: with as much of the folder as makes them findable.
    const file = /^[\w./-]+\.(?:ts|sh|mjs)$/;
    const missing = ['README.md', 'docs/architecture.md', 'docs/formats.md'].flatMap((document) =>
      codeSpans(readDocument(document)).filter((span) => {
        if (top.test(span)) return !existsSync(path.join(ROOT, span));
        return file.test(span) && !sources.some((source) => source.endsWith(`/${span}`));
      }),
    );
    expect(missing).toEqual([]);
  });
});
