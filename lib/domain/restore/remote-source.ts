import { formatBackupId } from '../backup/backup-id.ts';
import { isFromFuture, type BackupCopy } from '../backup/catalog.ts';
import { parseBackupFile } from '../backup/keys.ts';
import { LifeboatError, type ErrorCode } from '../errors.ts';
import { parseRestoreSource, splitPath } from './source.ts';

/** What a restore that is asked for from outside the host may be made from: never a path of the host. */
export type RemoteSource =
  | { readonly kind: 'latest' }
  | { readonly kind: 'id'; readonly id: string; readonly app: string }
  /** An object under the deployment's prefix; `folder` without a slash at its end. */
  | { readonly kind: 's3'; readonly url: string; readonly folder: string; readonly name: string };

export const LIST_HINT = 'See what there is: {"action":"list"}';

/** @throws LifeboatError USAGE */
export function parseRemoteSource(text: string, place: { bucket: string; prefix: string }): RemoteSource {
  const source = parseRestoreSource(text);
  switch (source.kind) {
    case 'latest':
      return source;
    case 'id':
      return { kind: 'id', id: formatBackupId(source.id), app: source.id.app };
    case 'path':
      throw refused(
        `${JSON.stringify(text)} is a file of a host`,
        'Restore it on the host: lifeboat restore <file>',
      );
    case 's3': {
      const { bucket, key } = source;
      const parts = key.split('/');
      const odd = parts.some((part) => ['', '.', '..'].includes(part));
      if (bucket !== place.bucket || !key.startsWith(`${place.prefix}/`) || odd)
        throw refused(
          `The host may not read ${text}: it lies outside of s3://${place.bucket}/${place.prefix}/`,
        );
      const { folder, name } = splitPath(key);
      return { kind: 's3', url: text, folder: folder.slice(0, -1), name };
    }
  }
}

function refused(message: string, hint: string = LIST_HINT): LifeboatError {
  return new LifeboatError('USAGE', message, { hint });
}

/**
 * The agent's own rules: the newest complete backup that is not from the future, refused while a newer one is damaged;
 * where none has a manifest, the newest of the user's earlier dumps.
 *
 * @param copies newest first
 * @throws LifeboatError BACKUP_NOT_FOUND, CORRUPT, MANIFEST_NEWER
 */
export function chooseLatest(copies: readonly BackupCopy[], app: string, now: Date): BackupCopy {
  const good = copies.filter(({ state }) => state === 'complete');
  const latest = good.find(({ time }) => !isFromFuture(time, now)) ?? good[0];
  for (const copy of copies) {
    if (copy === latest) break;
    if (copy.state !== 'damaged' && copy.state !== 'unreadable') continue;
    const before = latest ? `To restore the one before it, name it: "source":"${latest.id}"` : LIST_HINT;
    throw unusable(copy, `The newest backup, ${copy.id}, cannot be used`, before);
  }
  const found = latest ?? copies.find(({ state }) => state === 'without manifest');
  if (found) return found;
  throw new LifeboatError('BACKUP_NOT_FOUND', `There is no backup of ${app} in S3`, { hint: LIST_HINT });
}

/** @throws LifeboatError BACKUP_NOT_FOUND, CORRUPT, MANIFEST_NEWER */
export function chooseById(copies: readonly BackupCopy[], id: string): BackupCopy {
  const copy = copies.find((each) => each.id === id);
  if (!copy || copy.state === 'unfinished')
    throw new LifeboatError('BACKUP_NOT_FOUND', `There is no backup ${id} in S3`, { hint: LIST_HINT });
  if (copy.state === 'complete' || copy.state === 'without manifest') return copy;
  throw unusable(copy, `${id} cannot be used`, LIST_HINT);
}

function unusable({ detail, state, unreadable }: BackupCopy, words: string, hint: string): LifeboatError {
  const newer = unreadable instanceof LifeboatError && unreadable.code === 'MANIFEST_NEWER';
  const code: ErrorCode = newer ? 'MANIFEST_NEWER' : 'CORRUPT';
  return new LifeboatError(code, `${words}: ${detail ?? state}`, { hint });
}

/** The backup that a file's name belongs to; `undefined` for a dump of another making. */
export function backupOfFile(name: string): { id: string; app: string } | undefined {
  const file = parseBackupFile(name);
  if (!file || file.partial || file.role === 'run' || file.role === 'globals') return undefined;
  return { id: formatBackupId(file.id), app: file.id.app };
}
