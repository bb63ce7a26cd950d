import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { DatabaseSettings } from '../settings.ts';
import type { Environment } from '../environment.ts';

/** One of PostgreSQL's own programs: where it is and which version it says it is. */
export interface Tool {
  readonly path: string;
  /** As `server_version_num` counts: 150018 for 15.18. */
  readonly versionNumber: number;
  readonly version: string;
}

export type ToolName = 'pg_dump' | 'pg_dumpall' | 'pg_restore' | 'psql';

const run = promisify(execFile);

/**
 * The program of the server's major version where one is installed, else the first that is found: first PG_BIN_DIR, then
 * the folders of Debian's and PGDG's packages for that major, then PATH.
 *
 * @throws LifeboatError CLIENT_MISSING
 */
export async function findTool(
  name: ToolName,
  settings: DatabaseSettings,
  environment: Environment,
  serverMajor: number,
): Promise<Tool> {
  const folders = settings.binDir
    ? [settings.binDir]
    : [
        `/usr/lib/postgresql/${serverMajor}/bin`,
        `/usr/pgsql-${serverMajor}/bin`,
        ...(environment['PATH'] ?? '').split(delimiter).filter(Boolean),
      ];
  for (const folder of folders) {
    const path = join(folder, name);
    if (await isExecutable(path)) return { path, ...(await readVersion(path)) };
  }
  throw new LifeboatError('CLIENT_MISSING', `${name}: command not found in ${folders.join(', ') || 'PATH'}`, {
    hint: `Install the PostgreSQL client: sudo apt-get install postgresql-client-${serverMajor || '<major>'}, or set PG_BIN_DIR to its folder.`,
  });
}

/**
 * The environment of PostgreSQL's programs: where to connect goes through libpq's variables, never through arguments,
 * which every user of the host can read (https://www.postgresql.org/docs/current/libpq-envars.html).
 */
export function toolEnvironment(
  settings: DatabaseSettings,
  environment: Environment,
  database: string,
): Record<string, string> {
  const kept = Object.entries(environment).filter(
    (entry): entry is [string, string] => entry[1] !== undefined && !isOverruled(entry[0]),
  );
  return {
    ...Object.fromEntries(kept),
    PGHOST: settings.host,
    PGPORT: String(settings.port),
    PGUSER: settings.user,
    PGDATABASE: database,
    PGAPPNAME: 'lifeboat',
    PGCONNECT_TIMEOUT: '10',
    // Messages are matched and shown; a translated one would be neither understood nor searchable.
    LC_ALL: 'C.UTF-8',
    ...(settings.password === undefined ? {} : { PGPASSWORD: settings.password }),
  };
}

/**
 * PGSERVICE and PGHOSTADDR would lead the tools elsewhere than our own connection; PGOPTIONS, PGCLIENTENCODING and
 * PGDATESTYLE would change what is dumped; our own secrets are none of theirs.
 */
function isOverruled(name: string): boolean {
  return (
    /^(?:PGSERVICE|PGSERVICEFILE|PGHOSTADDR|PGOPTIONS|PGCLIENTENCODING|PGDATESTYLE|PGTZ|PGGEQO|PSQLRC|LANG|LANGUAGE)$/.test(
      name,
    ) || /^(?:DB_PASSWORD|SLACK_|SMTP_|AWS_|LC_)/.test(name)
  );
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function readVersion(path: string): Promise<{ version: string; versionNumber: number }> {
  const { stdout } = await run(path, ['--version'], { timeout: 10_000 }).catch((cause: unknown) => {
    throw new LifeboatError('CLIENT_MISSING', `${path} --version failed: ${(cause as Error).message}`, {
      cause,
    });
  });
  const match = /\(PostgreSQL\) (\d+)(?:\.(\d+))?\S*/.exec(stdout);
  if (!match)
    throw new LifeboatError(
      'CLIENT_MISSING',
      `${path} --version said: ${JSON.stringify(stdout.slice(0, 200))}`,
    );
  return {
    version: match[0].replace('(PostgreSQL) ', ''),
    versionNumber: Number(match[1]) * 10_000 + Number(match[2] ?? 0),
  };
}
