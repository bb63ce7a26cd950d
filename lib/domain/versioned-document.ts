import { z } from 'zod';
import { LifeboatError } from './errors.ts';

/** Manifests and records as they lie in stores: JSON with a `schemaVersion`, written once and read for years. */

export interface DocumentKind<Document> {
  readonly schema: z.ZodType<Document>;
  /** The newest that is understood. */
  readonly version: number;
  /** As errors call it: `manifest`. */
  readonly name: string;
}

/** @throws ZodError: what is written must be what can be read */
export function formatDocument<Document>({ schema }: DocumentKind<Document>, document: Document): string {
  return `${JSON.stringify(schema.parse(document), null, 1)}\n`;
}

/**
 * @param where named in errors, as in `s3://bucket/prefix/x.manifest.json`
 * @throws LifeboatError MANIFEST_NEWER for a later schema version, CORRUPT for anything that is no such document
 */
export function parseDocument<Document>(
  { schema, version, name }: DocumentKind<Document>,
  text: string,
  where: string,
): Document {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new LifeboatError('CORRUPT', `${where} is not JSON: ${(cause as Error).message}`, { cause });
  }
  const found = (json as { schemaVersion?: unknown } | null)?.schemaVersion;
  if (typeof found === 'number' && found > version) {
    throw new LifeboatError(
      'MANIFEST_NEWER',
      `${where} has schema version ${found}; this Lifeboat reads up to ${version}`,
    );
  }
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new LifeboatError('CORRUPT', `${where} is no valid ${name}: ${z.prettifyError(parsed.error)}`);
}
