import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { LifeboatError } from '../../lib/domain/errors.ts';

/** The one place where the agent reads its environment. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * `process.env` over the working directory's `.env`: what is exported wins over what is written down.
 * @throws LifeboatError SETTINGS_INVALID when there is a `.env` that cannot be read
 */
export function readEnvironment(dotEnvPath = '.env'): Environment {
  return { ...readDotEnv(dotEnvPath), ...process.env };
}

/**
 * `process.env` alone: a run that SSM started finds itself in whatever folder, and what lies there as `.env` is not meant
 * for it.
 */
export function readProcessEnvironment(): Environment {
  return { ...process.env };
}

/**
 * The AWS SDK reads its many variables from `process.env` by itself. Those that stand only in `.env` are put there, so
 * that every one of them means what it means to the SDK; what is exported already stays.
 */
export function exportAwsVariables(environment: Environment): void {
  for (const [name, value] of Object.entries(environment)) {
    if (name.startsWith('AWS_') && value !== undefined) process.env[name] ??= value;
  }
}

function readDotEnv(path: string): Environment {
  try {
    // parseEnv takes a byte order mark, as Windows editors write it, for a part of the first name.
    return parseEnv(readFileSync(path, 'utf8').replace(/^\uFEFF/, ''));
  } catch (cause) {
    if (isAbsent(path, cause as NodeJS.ErrnoException)) return {};
    throw new LifeboatError('SETTINGS_INVALID', `Cannot read ${resolve(path)}: ${(cause as Error).message}`, {
      cause,
      hint: 'Its settings would be missing. Let this user read it (chown, chmod), or run the command in a folder without it.',
    });
  }
}

/** Where the folder itself may not be entered, as after `sudo -u postgres` in /root, no file is known to be there. */
function isAbsent(path: string, { code = '' }: NodeJS.ErrnoException): boolean {
  return ['ENOENT', 'ENOTDIR', 'EISDIR'].includes(code) || (code === 'EACCES' && !existsSync(path));
}
