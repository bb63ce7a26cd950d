import { asLifeboatError, LifeboatError } from '../../../lib/domain/errors.ts';
import { majorOf } from '../../../lib/domain/server-version.ts';
import { parseLsn } from '../../../lib/domain/wal/lsn.ts';
import { PAGE_SIZE } from '../data-path/pages/page-checksum.ts';
import { PAGES_PER_FILE } from '../data-path/pages/relation-file.ts';
import type { Environment } from '../environment.ts';
import { isOwnAddress } from '../host/configuration-files.ts';
import type { BackupSender, BaseServerFacts, ClusterFiles, OpenedFiles } from '../ports/base-backup.ts';
import type { BaseBackupRequest, BaseBackupStream, SystemIdentity } from '../ports/replication.ts';
import type { DatabaseSettings } from '../settings.ts';
import { BackupSession } from './backup-session.ts';
import { readControlFile } from './control-file.ts';
import { codeOf } from './disk-failure.ts';
import { FilesBackup } from './files-backup.ts';
import { Folder } from './folder.ts';
import { whyNotThisHost } from './same-host.ts';
import { SourceCluster } from './source-cluster.ts';

export interface ClusterFilesOptions {
  /** `never`: PostgreSQL sends the files, wherever it runs. */
  readonly use: 'auto' | 'never';
  readonly interrupted: AbortSignal;
}

export function openClusterFiles(
  settings: DatabaseSettings,
  environment: Environment,
  { use, interrupted }: ClusterFilesOptions,
): ClusterFiles {
  return {
    open: async (facts) => {
      const unfit = use === 'never' ? 'BASE_BACKUP_FILES is never' : whyUnfit(facts);
      if (unfit !== undefined) return refused(unfit);
      const { versionNumber } = facts;
      const open = (database: string): Promise<OpenedFiles> =>
        openFrom(facts, () =>
          BackupSession.open({ ...settings, name: database }, environment, { versionNumber, interrupted }),
        );
      const fallback = settings.name ?? ANY_DATABASE;
      if (fallback === ANY_DATABASE) return await open(ANY_DATABASE);
      const opened = await open(ANY_DATABASE);
      interrupted.throwIfAborted();
      return 'sender' in opened ? opened : await open(fallback);
    },
  };
}

/**
 * Where the session stays for as long as the files are read: a database with a session on it can be neither renamed nor dropped, nor be
 * copied. The one that is backed up is entered only where this role has its rights there alone.
 */
const ANY_DATABASE = 'postgres';

async function openFrom(facts: BaseServerFacts, connect: () => Promise<BackupSession>): Promise<OpenedFiles> {
  let session: BackupSession;
  try {
    session = await connect();
  } catch (error) {
    const { code, message } = asLifeboatError(error);
    if (code !== 'DB_CONNECT') throw error;
    return mendable(message);
  }
  try {
    const opened = await openHere(facts, session);
    if (!('sender' in opened)) await session.close();
    return opened;
  } catch (error) {
    await session.close();
    throw error;
  }
}

function refused(reason: string): OpenedFiles {
  return { reason, mendable: false };
}

function mendable(reason: string): OpenedFiles {
  return { reason, mendable: true };
}

/** What is known before the server is asked further. */
function whyUnfit({ standby, blockSize, configuration }: BaseServerFacts): string | undefined {
  if (process.platform !== 'linux') return 'this host is no Linux';
  if (standby) return 'the server is a standby';
  if (blockSize !== PAGE_SIZE) return `the server’s pages have ${blockSize} bytes`;
  if (!isOwnAddress(configuration.serverAddress)) return 'the server is on another host';
  if (configuration.dataDirectory === undefined)
    return 'this role may not see where they lie (GRANT pg_read_all_settings TO it)';
  return undefined;
}

interface ProcessRow {
  readonly pid: number;
  readonly age: string;
  readonly started: string;
  readonly may_start: boolean;
  readonly may_stop: boolean;
  readonly catalog: number;
  readonly file_pages: number;
  readonly stats_folder: string | null;
}

async function openHere(facts: BaseServerFacts, session: BackupSession): Promise<OpenedFiles> {
  const dataDirectory = facts.configuration.dataDirectory!;
  const asked = performance.now();
  const [row] = await session.rows<ProcessRow>(processQuery(facts.versionNumber));
  if (row!.pid !== session.processId) return refused('there is a connection pooler between');
  const server = {
    pid: row!.pid,
    age: Number(row!.age),
    startedAt: Number(row!.started),
    dataDirectory,
  };
  let elsewhere: string | undefined;
  try {
    elsewhere = await whyNotThisHost(server, () => (performance.now() - asked) / 1000);
  } catch (error) {
    if (['EACCES', 'EPERM'].includes(codeOf(error) ?? ''))
      return mendable(`this user may not read ${dataDirectory}; PostgreSQL’s own user may, and root`);
    throw error;
  }
  if (elsewhere !== undefined) return refused(elsewhere);
  if (row!.file_pages !== PAGES_PER_FILE)
    return refused(`the server’s files hold up to ${row!.file_pages} pages each`);
  if (!row!.may_start || !row!.may_stop) return mendable(whyNoRight(facts.versionNumber));
  return await openFolders(facts, session, row!);
}

/** What cannot be read at the first look is left to PostgreSQL; later on it is an error. */
async function openFolders(
  facts: BaseServerFacts,
  session: BackupSession,
  { pid, catalog, stats_folder: statsFolder }: ProcessRow,
): Promise<OpenedFiles> {
  const dataDirectory = facts.configuration.dataDirectory!;
  let root: Folder;
  try {
    root = Folder.at(Buffer.from(dataDirectory).toString('latin1'));
  } catch (error) {
    return mendable(`${dataDirectory} cannot be read: ${(error as Error).message}`);
  }
  const cluster = new SourceCluster(facts, session, {
    root,
    pid,
    catalogVersion: catalog,
    statsFolder: statsFolder ?? undefined,
  });
  try {
    const { systemIdentifier } = await readControlFile(root);
    if (systemIdentifier !== facts.systemIdentifier)
      throw new LifeboatError(
        'DISK_FAILED',
        `${dataDirectory} on this host is of cluster ${systemIdentifier}`,
      );
    await cluster.findTablespaces();
    const wal = await cluster.openWal();
    wal.names();
    wal.close();
    return { sender: new FilesSender(facts, session, cluster), folder: dataDirectory };
  } catch (error) {
    cluster.close();
    const { code, message } = asLifeboatError(error);
    if (code !== 'DISK_FAILED') throw error;
    return mendable(message);
  }
}

/** pg_settings, unlike SHOW, leaves out what this role may not see, and what this version has not. */
function processQuery(versionNumber: number): string {
  const [start, stop] = functionsOf(versionNumber);
  return `
    SELECT pg_backend_pid() AS pid,
           (SELECT extract(epoch FROM clock_timestamp() - backend_start)::text
              FROM pg_stat_get_activity(pg_backend_pid())) AS age,
           extract(epoch FROM pg_postmaster_start_time())::text AS started,
           has_function_privilege('${start}', 'EXECUTE') AS may_start,
           has_function_privilege('${stop}', 'EXECUTE') AS may_stop,
           (SELECT catalog_version_no FROM pg_control_system()) AS catalog,
           (SELECT setting::int FROM pg_settings WHERE name = 'segment_size') AS file_pages,
           (SELECT setting FROM pg_settings WHERE name = 'stats_temp_directory') AS stats_folder`;
}

function functionsOf(versionNumber: number): [start: string, stop: string] {
  return majorOf(versionNumber) < 15
    ? ['pg_start_backup(text,boolean,boolean)', 'pg_stop_backup(boolean,boolean)']
    : ['pg_backup_start(text,boolean)', 'pg_backup_stop(boolean)'];
}

function whyNoRight(versionNumber: number): string {
  const [start, stop] = functionsOf(versionNumber);
  return `this role may not call pg_backup_start and pg_backup_stop in the database ${ANY_DATABASE} (GRANT EXECUTE ON FUNCTION ${start}, ${stop} TO it)`;
}

/** In place of a replication connection. */
class FilesSender implements BackupSender {
  readonly #facts: BaseServerFacts;
  readonly #session: BackupSession;
  readonly #cluster: SourceCluster;

  constructor(facts: BaseServerFacts, session: BackupSession, cluster: SourceCluster) {
    this.#facts = facts;
    this.#session = session;
    this.#cluster = cluster;
  }

  async identify(): Promise<SystemIdentity> {
    const [row] = await this.#session.rows<{ system: string; timeline: number; flushed: string }>(
      `SELECT system_identifier::text AS system, timeline_id AS timeline, pg_current_wal_flush_lsn()::text AS flushed
         FROM pg_control_system(), pg_control_checkpoint()`,
    );
    return {
      systemIdentifier: row!.system,
      timeline: row!.timeline,
      flushLsn: parseLsn(row!.flushed),
    };
  }

  async baseBackup(request: BaseBackupRequest): Promise<BaseBackupStream> {
    if (!request.wal || !request.manifest || request.checkpoint !== 'fast' || request.incrementalManifest)
      throw new LifeboatError('BUG', 'Only a whole base backup is made of the files themselves');
    const session = this.#session;
    const start = await session.start(request.label);
    // From here on, so that none is missed that the WAL does not tell of.
    const tablespaces = await this.#cluster.findTablespaces();
    const sizes = await session.tablespaceSizes();
    const sizeOf = (oid: number): number => sizes.find((each) => each.oid === oid)?.bytes ?? 0;
    const own = sizes.filter(({ name }) => ['pg_default', 'pg_global'].includes(name));
    const ownBytes = own.reduce((sum, { bytes }) => sum + bytes, 0);
    const described = [
      ...tablespaces.map(({ oid, location }) => ({ oid, location, sizeBytes: sizeOf(oid) })),
      { oid: null, location: null, sizeBytes: ownBytes || this.#facts.clusterBytes },
    ];
    return new FilesBackup({ session, cluster: this.#cluster, start, tablespaces, described });
  }

  async close(): Promise<void> {
    await this.#session.close();
    this.#cluster.close();
  }
}
