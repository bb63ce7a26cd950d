import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';

/** The one place where the agent reads its environment. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** `process.env` over the working directory's `.env`: what is exported wins over what is written down. */
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
    return parseEnv(readFileSync(path, 'utf8'));
  } catch (error) {
    // No file, or one that this user may not read: the exported variables alone then decide.
    if (['ENOENT', 'EACCES', 'ENOTDIR', 'EISDIR'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return {};
    throw error;
  }
}
