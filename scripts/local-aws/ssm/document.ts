import { z } from 'zod';
import { compileRe2 } from './re2.ts';

/** A Command document, schema 2.2, as far as the agent reads it. */
const stepSchema = z.object({
  name: z.string().regex(/^[a-zA-Z0-9_]+$/),
  action: z.enum(['aws:runShellScript', 'aws:downloadContent']),
  precondition: z.record(z.string(), z.array(z.string())).optional(),
  inputs: z.record(z.string(), z.unknown()),
});

const parameterSchema = z.object({
  type: z.enum(['String', 'StringList']),
  description: z.string().optional(),
  default: z.unknown().optional(),
  allowedPattern: z.string().optional(),
  allowedValues: z.array(z.string()).optional(),
  minChars: z.int().optional(),
  maxChars: z.int().optional(),
});

const documentSchema = z.object({
  schemaVersion: z.literal('2.2'),
  description: z.string().optional(),
  parameters: z.record(z.string().regex(/^[a-zA-Z0-9]+$/), parameterSchema).default({}),
  mainSteps: z.array(stepSchema).min(1),
});

export type CommandDocument = z.infer<typeof documentSchema>;
export type DocumentStep = z.infer<typeof stepSchema>;
export type ParameterValues = Readonly<Record<string, readonly string[]>>;

/** @throws Error for what SSM would not accept as a document, or what this stand-in does not run */
export function parseDocument(content: unknown): CommandDocument {
  return documentSchema.parse(typeof content === 'string' ? JSON.parse(content) : content);
}

/** What SSM itself checks before it takes a command: names, patterns, lengths. Empty when all is well. */
export function findWrongParameters(document: CommandDocument, values: ParameterValues): string[] {
  const unknown = Object.keys(values).filter((name) => !(name in document.parameters));
  const missing = Object.entries(document.parameters).filter(
    ([name, { default: fallback }]) => fallback === undefined && values[name] === undefined,
  );
  return [
    ...unknown.map((name) => `${name} is no parameter of the document`),
    ...missing.map(([name]) => `${name} is missing`),
    ...Object.entries(values).flatMap(([name, list]) =>
      list.flatMap((value) => wrongValue(document, name, value)),
    ),
  ];
}

function wrongValue({ parameters }: CommandDocument, name: string, value: string): string[] {
  const { allowedPattern, allowedValues, minChars = 0, maxChars = Infinity } = parameters[name] ?? {};
  // Not by RE2: SSM takes a command that the agent will then refuse.
  if (allowedPattern !== undefined && !new RegExp(allowedPattern).test(value))
    return [`${name} does not match its pattern ${allowedPattern}`];
  if (allowedValues && !allowedValues.includes(value)) return [`${name} is none of its allowed values`];
  if (value.length < minChars || value.length > maxChars) return [`${name} has ${value.length} characters`];
  return [];
}

/**
 * The agent's own check, by Go's RE2: not anchored unless the pattern says so. `undefined`: all is well.
 * @returns what stands in the output of a document that does not run at all
 */
export function findAgentRefusal(document: CommandDocument, values: ParameterValues): string | undefined {
  for (const [name, { allowedPattern }] of Object.entries(document.parameters)) {
    if (allowedPattern === undefined) continue;
    try {
      const pattern = compileRe2(allowedPattern);
      const wrong = values[name]?.find((value) => !pattern.test(value));
      if (wrong !== undefined) return `parameter ${name} does not match its pattern: ${allowedPattern}`;
    } catch (error) {
      return `error parsing regexp: ${(error as Error).message}`;
    }
  }
  return undefined;
}

/**
 * `{{ name }}` is replaced by the value as it is, before anything reads the text: nothing in the text can protect itself
 * from a value. What has neither value nor default becomes `null`; what is not known stays.
 */
export function interpolate(input: unknown, document: CommandDocument, values: ParameterValues): unknown {
  if (typeof input === 'string') return interpolateText(input, document, values);
  if (Array.isArray(input)) return input.map((each) => interpolate(each, document, values));
  if (typeof input !== 'object' || input === null) return input;
  return Object.fromEntries(
    Object.entries(input).map(([name, value]) => [name, interpolate(value, document, values)]),
  );
}

function interpolateText(text: string, document: CommandDocument, values: ParameterValues): string {
  return text.replaceAll(/\{\{\s*([a-zA-Z0-9]+)\s*\}\}/g, (whole, name: string) => {
    const declared = document.parameters[name];
    const given = values[name] ?? (declared === undefined ? undefined : asList(declared.default));
    if (given === undefined) return declared === undefined ? whole : 'null';
    // "$$" becomes "$" in a longer text: Go's templating, not a shell.
    const shown = declared?.type === 'StringList' ? JSON.stringify(given) : (given[0] ?? '');
    return text === whole ? shown : shown.replaceAll('$$', () => '$');
  });
}

const asList = (value: unknown): readonly string[] | undefined =>
  value === undefined ? undefined : [value].flat().map(String);
