import { majorOf } from '../server-version.ts';
import { LifeboatError } from '../errors.ts';
import type { BaseManifest } from './base-manifest.ts';

/** The host that is to run the restored cluster. */
export interface RecoveryHost {
  /** As in the manifest: `x64`, `arm64`. */
  readonly architecture: string;
  /** As in the manifest: `glibc 2.36`. */
  readonly libc: string;
  /** Of the server's binaries, as in `server_version_num`; `undefined`: none were found. */
  readonly versionNumber: number | undefined;
}

/** In a manifest, and of a host whose libc is not glibc. */
export const UNKNOWN = 'unknown';

export type HostDifference = 'architecture' | 'libc' | 'version';

/**
 * Data files are those of one architecture and one major version, and their indexes on text those of one libc's sort
 * order.
 * @param overrides differences that the operator takes upon themselves
 * @throws LifeboatError HOST_DIFFERS, or PREFLIGHT_FAILED with several of them
 */
export function findHostProblems(
  { host: source, server }: BaseManifest,
  host: RecoveryHost,
  overrides: ReadonlySet<HostDifference> = new Set(),
): LifeboatError[] {
  const problems: LifeboatError[] = [];
  if (source.architecture !== host.architecture && !overrides.has('architecture')) {
    problems.push(
      source.architecture === UNKNOWN
        ? unknown(`on what architecture; this host is ${host.architecture}`, 'architecture')
        : differs(`was made on ${source.architecture}; this host is ${host.architecture}`),
    );
  }
  if (source.libc !== host.libc && !overrides.has('libc')) {
    const order = 'text may sort in another order, so that indexes on it would miss rows until REINDEX';
    problems.push(
      source.libc === UNKNOWN
        ? unknown(`with which libc; this host has ${host.libc}, and with another ${order}`, 'libc')
        : differs(`was made with ${source.libc}; this host has ${host.libc}: ${order}`),
    );
  }
  const wanted = majorOf(server.versionNumber);
  if (host.versionNumber === undefined) {
    problems.push(
      differs(
        `needs PostgreSQL ${wanted}; none was found here`,
        `Install PostgreSQL ${wanted}, or set PG_BIN_DIR to its folder.`,
      ),
    );
  } else if (majorOf(host.versionNumber) !== wanted && !overrides.has('version')) {
    const found = majorOf(host.versionNumber);
    problems.push(
      differs(
        `is of PostgreSQL ${wanted}; found ${found}`,
        `Install PostgreSQL ${wanted}, or set PG_BIN_DIR to its folder.`,
      ),
    );
  }
  return problems;
}

/** A server on another host that did not say. */
function unknown(what: string, difference: HostDifference): LifeboatError {
  const hint = `If it is the same as the server’s, recover with: --despite ${difference}. Nothing was touched.`;
  return differs(`does not tell ${what}`, hint);
}

function differs(message: string, hint?: string): LifeboatError {
  return new LifeboatError('HOST_DIFFERS', `The base backup ${message}`, hint === undefined ? {} : { hint });
}
