import { parseBackupId, type BackupId } from '../backup/backup-id.ts';
import { parseBackupFile } from '../backup/keys.ts';
import { LifeboatError } from '../errors.ts';

/** What the user named to restore from. */
export type RestoreSource =
  | { readonly kind: 'latest' }
  | { readonly kind: 'id'; readonly id: BackupId }
  /** A file's path as typed; relative to the working directory, or to BACKUP_DIR when it is a bare name. */
  | { readonly kind: 'path'; readonly path: string }
  | { readonly kind: 's3'; readonly bucket: string; readonly key: string };

const DUMP_NAME = /\.(?:sql|dump|backup|pgdump|custom|gz|zst)$/;

/**
 * `latest`, a backup's id, a path or an `s3://bucket/key` URL. A manifest's name stands for its backup.
 *
 * @throws LifeboatError USAGE when `text` is none of these.
 */
export function parseRestoreSource(text: string): RestoreSource {
  if (text === 'latest') return { kind: 'latest' };
  if (/^s3:\/\//i.test(text)) return parseS3Url(text);
  const id = parseBackupId(text);
  if (id) return { kind: 'id', id };
  if (text.includes('/') || DUMP_NAME.test(text) || parseBackupFile(text))
    return { kind: 'path', path: text };
  throw notUnderstood(text);
}

function parseS3Url(text: string): RestoreSource {
  // Not `new URL`: a key may hold "?", "#", "%", ".." and spaces, all of which mean themselves.
  const match = /^s3:\/\/([^/]+)\/(.+)$/is.exec(text);
  if (!match || text.endsWith('/')) throw notUnderstood(text);
  return { kind: 's3', bucket: match[1] as string, key: match[2] as string };
}

function notUnderstood(text: string): LifeboatError {
  return new LifeboatError(
    'USAGE',
    `Cannot tell what to restore from ${JSON.stringify(text)}: give latest, a backup’s id, a file’s path or s3://bucket/key`,
    { hint: 'Run: lifeboat list' },
  );
}

/** The folder part of a path or key, with its slash, and the rest. */
export function splitPath(path: string): { folder: string; name: string } {
  const slash = path.lastIndexOf('/');
  return { folder: path.slice(0, slash + 1), name: path.slice(slash + 1) };
}
