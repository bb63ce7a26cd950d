import type { Compression, DumpFormat } from '../backup/keys.ts';

/** What reading a dump whole tells, for a dump that has no manifest. */
export interface DumpInspection {
  readonly format: DumpFormat;
  /** `none`: the file is the dump itself. */
  readonly compression: Compression | 'none';
  readonly rawSize: number;
  /** As in `15.18 (Debian 15.18-0+deb12u1)`; `undefined` when the dump does not say. */
  readonly serverVersion: string | undefined;
  readonly pgDumpVersion: string | undefined;
  /** It begins with `\restrict`, which only recent psql knows. */
  readonly restricted: boolean;
  /** Owners of its objects. */
  readonly owners: readonly string[];
  readonly extensions: readonly string[];
  /** Rows of its COPY data, one entry a table; `undefined` when it has none, or none that could be counted. */
  readonly tables:
    readonly { readonly schema: string; readonly name: string; readonly rows: number }[] | undefined;
}

/** Told by the first bytes, never by the name. https://datatracker.ietf.org/doc/html/rfc1952 and rfc8878 */
export function sniffCompression(head: Uint8Array): Compression | 'none' {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  const magic = ((head[3] ?? 0) << 24) | ((head[2] ?? 0) << 16) | ((head[1] ?? 0) << 8) | (head[0] ?? 0);
  if (magic >>> 0 === 0xfd2fb528) return 'zstd';
  // A skippable frame may come first; `zstd --seekable` and pzstd write such.
  return (magic & 0xfffffff0) >>> 0 === 0x184d2a50 ? 'zstd' : 'none';
}

/**
 * `undefined` when the bytes are no dump: every dump of pg_dump's begins with a comment, after `\restrict` at most blank
 * lines, or with the custom format's mark.
 *
 * @param head decompressed, as latin1; a few hundred characters
 */
export function sniffFormat(head: string): DumpFormat | undefined {
  if (head.startsWith('PGDMP')) return 'custom';
  return /^(?:\uFEFF|ï»¿)?\s*--\s*-- PostgreSQL database (?:cluster )?dump/.test(head.replaceAll('\r', ''))
    ? 'plain'
    : undefined;
}

/** The end mark of a whole plain dump; `pg_dump` 15.14 and later writes `\unrestrict` after it. */
export const PLAIN_END_MARK = '-- PostgreSQL database dump complete';
/** pg_dumpall's, whose dump holds `\connect` to databases of any name. */
export const CLUSTER_DUMP_MARK = '-- PostgreSQL database cluster dump';
