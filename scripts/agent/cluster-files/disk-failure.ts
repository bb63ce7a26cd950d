import { LifeboatError } from '../../../lib/domain/errors.ts';

/**
 * A file of the cluster that cannot be read: no backup is made without it.
 * @param error of a system call, whose own words name a path below /proc
 */
export function cannotRead(path: string, error: unknown): LifeboatError {
  if (error instanceof LifeboatError) return error;
  const [reason = ''] = (error as Error).message.split(/, (?:\w+ ')|, (?:read|scandir|fstat|open|lstat)\b/);
  const denied = ['EACCES', 'EPERM'].includes(codeOf(error) ?? '');
  return new LifeboatError('DISK_FAILED', `Cannot read ${path}: ${reason}`, {
    hint: denied
      ? 'Run the backup as the user that PostgreSQL runs as, or as root; or have PostgreSQL send the files: BASE_BACKUP_FILES=never'
      : 'Check the disk and the kernel’s log (dmesg), then run the backup again.',
    cause: error,
  });
}

export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}
