import { LifeboatError } from '../../../lib/domain/errors.ts';
import { isRestoringMark, isRestoringName } from '../../../lib/domain/restore/database-names.ts';
import { majorOf } from '../../../lib/domain/server-version.ts';
import type {
  RestoreNeeds,
  RestoreTools,
  ServerFacts,
  TargetFacts,
} from '../../../lib/domain/restore/preflight-facts.ts';
import type { FoundRows } from '../../../lib/domain/restore/row-counts.ts';
import { quoteIdentifier } from '../../../lib/domain/restore/sql.ts';
import type { DumpFormat } from '../../../lib/domain/backup/keys.ts';
import type { Environment } from '../environment.ts';
import type { ArchivePiece, PlainPiece } from '../ports/dump-files.ts';
import type {
  ArchiveRequest,
  CountRequest,
  CrashWitness,
  LoadRequest,
  ParallelLoadRequest,
  SwapIn,
  TargetServer,
} from '../ports/target-server.ts';
import type { DatabaseSettings } from '../settings.ts';
import { connect, type Connection } from './connection.ts';
import { openCrashWitness } from './crash-witness.ts';
import { countRestoredRows } from './restore-counts.ts';
import { Loads } from './restore-loads.ts';
import { rehearse } from './rehearsal.ts';
import { inTransaction, swapDatabases } from './swap.ts';
import { readContents, readPublicGrants } from './target-contents.ts';
import type { PresentTable } from '../../../lib/domain/restore/table-plan.ts';
import { readPresentTables } from './target-tables.ts';
import { readServerFacts, readTargetState } from './target-facts.ts';
import { findTool } from './tools.ts';

/** Databases that every cluster has; one of them is not the target. */
const MAINTENANCE = ['postgres', 'template1'] as const;

/** @throws LifeboatError DB_CONNECT */
export async function connectTargetServer(
  settings: DatabaseSettings,
  environment: Environment,
  target: string,
): Promise<TargetServer> {
  let failure: unknown;
  for (const maintenance of MAINTENANCE.filter((name) => name !== target)) {
    const open = (): Promise<Connection> => connect(settings, environment, maintenance);
    try {
      return new PostgresTarget({ settings, environment, target, open }, await open());
    } catch (error) {
      // Only a missing maintenance database, or one that we may not enter, makes another worth a try.
      failure ??= error;
      const code = ((error as LifeboatError).cause as { code?: string } | undefined)?.code;
      if (code !== '3D000' && code !== '42501') throw error;
    }
  }
  throw failure;
}

interface Reach {
  readonly settings: DatabaseSettings;
  readonly environment: Environment;
  readonly target: string;
  open(): Promise<Connection>;
}

interface Suspect extends Record<string, unknown> {
  readonly name: string;
  readonly comment: string | null;
  readonly sessions: number;
  /** Our role's, and one may look into it. */
  readonly ours: boolean;
}

class PostgresTarget implements TargetServer {
  readonly #reach: Reach;
  #session: Connection;
  #claimed = false;
  readonly #loads: Loads;

  constructor(reach: Reach, session: Connection) {
    this.#reach = reach;
    this.#session = session;
    this.#loads = new Loads({ ...reach, serverVersion: () => this.#version() });
  }

  async facts(needs: RestoreNeeds): Promise<ServerFacts> {
    return await readServerFacts(this.#session, needs);
  }

  async describeTarget(): Promise<TargetFacts | undefined> {
    const { target } = this.#reach;
    const state = await readTargetState(this.#session, target);
    if (!state) return undefined;
    const { takesConnections, ...facts } = state;
    if (!takesConnections)
      return { ...facts, contents: 'it takes no connections, so nobody can look', publicGrants: [] };
    return await this.#inside(target, async (connection) => {
      const contents = await readContents(connection);
      const publicGrants = contents === undefined ? await readPublicGrants(connection) : [];
      return { ...facts, contents, publicGrants };
    });
  }

  async contentsOf(database: string): Promise<string | undefined> {
    return await this.#inside(database, readContents);
  }

  async tools(format: DumpFormat): Promise<RestoreTools> {
    const { settings, environment } = this.#reach;
    const major = majorOf(await this.#version());
    const psql = await findTool('psql', settings, environment, major);
    const pgRestore =
      format === 'custom' ? await findTool('pg_restore', settings, environment, major) : undefined;
    return { psql, pgRestore };
  }

  async claim(): Promise<void> {
    const [row] = await this.#session.rows<{ held: boolean }>(
      "SELECT pg_try_advisory_lock(hashtext('lifeboat restore'), hashtext($1)) AS held",
      [this.#reach.target],
    );
    if (!row?.held) {
      throw new LifeboatError(
        'BUSY',
        `Another restore into ${JSON.stringify(this.#reach.target)} is going on, from another host perhaps`,
      );
    }
    this.#claimed = true;
  }

  async leftovers(): Promise<string[]> {
    const rows = await this.#session.rows<Suspect>(
      `SELECT datname::text AS name, shobj_description(oid, 'pg_database') AS comment,
              (SELECT count(*)::int FROM pg_stat_activity WHERE datid = d.oid) AS sessions,
              datallowconn AND datdba = (SELECT oid FROM pg_roles WHERE rolname = current_user) AS ours
         FROM pg_database d ORDER BY datname`,
    );
    const found: string[] = [];
    for (const row of rows) {
      if (isRestoringName(row.name, this.#reach.target) && (await this.#isLeftover(row)))
        found.push(row.name);
    }
    return found;
  }

  /**
   * With the claim held nobody else restores this target, so sessions in a marked database are a killed run's orphans,
   * such as its pg_restore, or bystanders. Without it (a dry run) they may be a restore that is going on.
   */
  async #isLeftover({ name, comment, sessions, ours }: Suspect): Promise<boolean> {
    if (isRestoringMark(comment, this.#reach.target)) return this.#claimed || sessions === 0;
    // A run that was killed between CREATE DATABASE and the mark.
    return comment === null && ours && sessions === 0 && (await this.contentsOf(name)) === undefined;
  }

  async execute(statements: readonly string[]): Promise<void> {
    const session = await this.#living();
    for (const statement of statements) await session.rows(statement);
  }

  async executeTogether(statements: readonly string[], database?: string): Promise<void> {
    if (database === undefined) await inTransaction(await this.#living(), statements);
    else await this.#inside(database, (connection) => inTransaction(connection, statements));
  }

  async rehearse(statements: readonly string[]): Promise<void> {
    await rehearse(await this.#living(), statements);
  }

  async dropDatabase(name: string): Promise<void> {
    await this.execute([`DROP DATABASE IF EXISTS ${quoteIdentifier(name)} WITH (FORCE)`]);
  }

  async loadPlain(request: LoadRequest & { content: AsyncIterable<Buffer> }): Promise<void> {
    await this.#loads.loadPlain(request);
  }

  async loadPlainPieces(request: ParallelLoadRequest & { pieces: AsyncIterable<PlainPiece> }): Promise<void> {
    await this.#loads.loadPlainPieces(request);
  }

  async loadCustom(request: LoadRequest & { path: string; jobs: number }): Promise<void> {
    await this.#loads.loadCustom(request);
  }

  async loadArchivePieces(
    request: ParallelLoadRequest & { pieces: AsyncIterable<ArchivePiece> },
  ): Promise<void> {
    await this.#loads.loadArchivePieces(request);
  }

  async loadTogether(request: LoadRequest & { content: AsyncIterable<Buffer> }): Promise<void> {
    await this.#loads.loadTogether(request);
  }

  archiveAsSql(request: ArchiveRequest): AsyncIterable<Buffer> {
    return this.#loads.archiveAsSql(request);
  }

  async presentTables(database: string): Promise<PresentTable[]> {
    return await this.#inside(database, readPresentTables);
  }

  async #version(): Promise<number> {
    const [row] = await (
      await this.#living()
    ).rows<{ version: number }>("SELECT current_setting('server_version_num')::int AS version");
    return row?.version ?? 0;
  }

  async witness(database: string): Promise<CrashWitness> {
    return await openCrashWitness(() => this.#open(database));
  }

  async countRows(request: CountRequest): Promise<FoundRows> {
    return await countRestoredRows(() => this.#open(request.database), request);
  }

  async swap(request: SwapIn): Promise<void> {
    await this.#living();
    await swapDatabases(() => this.#reach.open(), { ...request, target: this.#reach.target });
  }

  async close(): Promise<void> {
    await this.#session.close();
  }

  async #inside<Result>(
    database: string,
    work: (connection: Connection) => Promise<Result>,
  ): Promise<Result> {
    const connection = await this.#open(database);
    try {
      return await work(connection);
    } finally {
      await connection.close();
    }
  }

  async #open(database: string): Promise<Connection> {
    const { settings, environment } = this.#reach;
    return await connect(settings, environment, database);
  }

  /** A restore takes hours; a firewall or a restart of the server may have ended the idle session meanwhile. */
  async #living(): Promise<Connection> {
    const lost = await this.#session.rows('SELECT 1').then(
      () => false,
      () => true,
    );
    if (lost) {
      await this.#session.close();
      this.#session = await this.#reach.open();
      if (this.#claimed) await this.claim();
    }
    return this.#session;
  }
}
