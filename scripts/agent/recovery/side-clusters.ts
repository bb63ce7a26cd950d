import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { userInfo } from 'node:os';
import path from 'node:path';
import type { LifeboatError } from '../../../lib/domain/errors.ts';
import { quoteForShell } from '../../../lib/domain/install/quoting.ts';
import type { QualifiedName } from '../../../lib/domain/restore/table-names.ts';
import { digestReader } from '../data-path/digest.ts';
import { dumpWriter } from '../data-path/dump-writer.ts';
import type { Environment } from '../environment.ts';
import { onDisk } from '../host/durable-file.ts';
import { openJournal } from '../host/journal.ts';
import { openLocalHost } from '../host/local-host.ts';
import { openLocalStore } from '../host/local-store.ts';
import type { BackupPorts } from '../ports/backup.ts';
import type { RecoveryPlace, ReplayEnd, ServerPrograms } from '../ports/recovery.ts';
import type { SideCluster, SideClusters, SideHandling } from '../ports/side-cluster.ts';
import { openBackupSource } from '../postgres/backup-source.ts';
import { connect, type Connection } from '../postgres/connection.ts';
import { readPresentTables } from '../postgres/target-tables.ts';
import type { DatabaseSettings } from '../settings.ts';

export interface SideGround extends Pick<BackupPorts, 'clock' | 'log' | 'progress' | 'interrupted'> {
  readonly app: string;
  readonly database: DatabaseSettings;
  readonly environment: Environment;
}

/** Below the data directory: on its disk, and gone with it. */
const DUMPS = 'lifeboat_dumps';

export function openSideClusters(ground: SideGround): SideClusters {
  return {
    open: async (place, end) => {
      const settings = await findSuperuser(ground, end);
      return new Side({ ...ground, database: settings }, path.join(place.dataDir, DUMPS));
    },
    handling: handlingOf,
  };
}

/** Commands for whoever sits at the host; the cluster is its owner's alone. @param end where its socket is, while it runs */
export function handlingOf(
  { dataDir, tablespaceDir, osUser, port }: RecoveryPlace,
  { folder }: ServerPrograms,
  end?: Pick<ReplayEnd, 'socketDir' | 'port'>,
): SideHandling {
  const user = process.getuid?.() === 0 ? (osUser ?? 'postgres') : userInfo().username;
  const as = `sudo -u ${user}`;
  const data = quoteForShell(dataDir);
  const tablespaces = existsSync(tablespaceDir) ? ` ${quoteForShell(tablespaceDir)}` : '';
  const control = quoteForShell(path.join(folder, 'pg_ctl'));
  const log = quoteForShell(path.join(dataDir, 'server.log'));
  return {
    start: `${as} ${control} -D ${data} -l ${log} -w start`,
    look: `${as} psql -h ${quoteForShell(end?.socketDir ?? dataDir)} -p ${end?.port ?? port ?? 5432} postgres`,
    stop: `${as} ${control} -D ${data} -m fast stop`,
    remove: `sudo rm -r ${data}${tablespaces}`,
  };
}

/**
 * Nobody but the server's own user can come in, and whoever does may be any role: a superuser, so that all can be dumped.
 * @throws LifeboatError DB_CONNECT
 */
async function findSuperuser(
  { database, environment }: SideGround,
  { socketDir, port }: ReplayEnd,
): Promise<DatabaseSettings> {
  const side = { ...database, host: socketDir, port, password: undefined };
  let failure: unknown;
  for (const user of new Set([database.user, 'postgres'])) {
    try {
      const connection = await connectAnywhere({ ...side, user }, environment);
      try {
        const [row] = await connection.rows<{ name: string }>(SUPERUSER);
        return { ...side, user: row?.name ?? user };
      } finally {
        await connection.close();
      }
    } catch (error) {
      failure ??= error;
    }
  }
  throw failure;
}

const SUPERUSER = `
  SELECT rolname::text AS name FROM pg_roles WHERE rolsuper AND rolcanlogin
   ORDER BY rolname <> current_user, oid LIMIT 1`;

/** `postgres` may have been dropped; `template1` is always there. */
async function connectAnywhere(settings: DatabaseSettings, environment: Environment): Promise<Connection> {
  try {
    return await connect(settings, environment, 'postgres');
  } catch (error) {
    const code = ((error as LifeboatError).cause as { code?: string } | undefined)?.code;
    if (code !== '3D000') throw error;
    return await connect(settings, environment, 'template1');
  }
}

class Side implements SideCluster {
  readonly user: string;
  readonly #ground: SideGround;
  readonly folder: string;

  constructor(ground: SideGround, folder: string) {
    this.#ground = ground;
    this.user = ground.database.user;
    this.folder = folder;
  }

  async databases(): Promise<string[]> {
    const { database, environment } = this.#ground;
    const connection = await connectAnywhere(database, environment);
    try {
      const rows = await connection.rows<{ name: string }>(
        'SELECT datname::text AS name FROM pg_database WHERE datallowconn ORDER BY 1',
      );
      return rows.map(({ name }) => name);
    } finally {
      await connection.close();
    }
  }

  async tables(database: string): Promise<Awaited<ReturnType<typeof readPresentTables>>> {
    const connection = await connect(this.#ground.database, this.#ground.environment, database);
    try {
      return await readPresentTables(connection);
    } finally {
      await connection.close();
    }
  }

  backupPorts(database: string, tables: readonly QualifiedName[] | undefined): BackupPorts {
    const { log } = this.#ground;
    return {
      ...this.#ground,
      // A backup's own story would be mistaken for one of the series.
      log: { info: () => undefined, warn: (line) => log.warn(line) },
      source: openBackupSource(this.#ground.database, this.#ground.environment, database, tables),
      writer: dumpWriter,
      digests: digestReader,
      stores: [openLocalStore(this.folder)],
      journal: openJournal(path.join(this.folder, '.runs.jsonl')),
      channels: [],
      host: openLocalHost(this.folder),
    };
  }

  async close(): Promise<void> {
    await onDisk(`Cannot remove ${this.folder}`, () => rm(this.folder, { recursive: true, force: true }));
  }
}
