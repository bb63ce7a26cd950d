import { totalmem } from 'node:os';
import type { Client } from 'pg';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { majorOf } from '../../../lib/domain/server-version.ts';
import type { RestoreTools } from '../../../lib/domain/restore/preflight-facts.ts';
import { withoutRestriction } from '../data-path/plain-dump/restriction.ts';
import type { Environment } from '../environment.ts';
import type { ArchivePiece, PlainPiece } from '../ports/dump-files.ts';
import type { ArchiveRequest, LoadRequest, ParallelLoadRequest } from '../ports/target-server.ts';
import type { DatabaseSettings } from '../settings.ts';
import { closeClient, connectClient } from './connection.ts';
import { loadArchive, loadPlain } from './parallel-load.ts';
import {
  databaseArgument,
  readArchiveSql,
  runPgRestore,
  runPsql,
  withListOf,
  withoutTransactionTimeout,
} from './restore-load.ts';
import { enterDumpSession, sessionOptions } from './restore-session.ts';
import { toolEnvironment } from './tools.ts';

interface Reach {
  readonly settings: DatabaseSettings;
  readonly environment: Environment;
  readonly target: string;
  serverVersion(): Promise<number>;
}

type Content = { readonly content: AsyncIterable<Buffer> };

/** The loads of a TargetServer: which program gets what, in which environment. */
export class Loads {
  readonly #reach: Reach;

  constructor(reach: Reach) {
    this.#reach = reach;
  }

  async loadPlain(request: LoadRequest & Content): Promise<void> {
    const { tools, database, interrupted, onProgress } = request;
    const environment = this.#environment(database, 1);
    const content = await this.#understood(withoutRestriction(request.content));
    await runPsql({ tool: tools.psql, args: [], environment, content, interrupted, onProgress });
  }

  async loadPlainPieces(
    request: ParallelLoadRequest & { readonly pieces: AsyncIterable<PlainPiece> },
  ): Promise<void> {
    const { tools, database, jobs, pieces, interrupted, onProgress, onRowsLoaded } = request;
    const environment = this.#environment(database, 1);
    await loadPlain({
      pieces,
      psql: { tool: tools.psql, args: [], environment, interrupted },
      withoutTransactionTimeout: majorOf(await this.#reach.serverVersion()) < 17,
      openLanes: (encoding) => this.#openLanes(database, jobs, encoding),
      interrupted,
      onProgress,
      onRowsLoaded,
    });
  }

  async loadCustom(request: LoadRequest & { readonly path: string; readonly jobs: number }): Promise<void> {
    await this.#restoreArchive(request, request.path, undefined);
  }

  async loadArchivePieces(
    request: ParallelLoadRequest & { readonly pieces: AsyncIterable<ArchivePiece> },
  ): Promise<void> {
    const { database, jobs, pieces, interrupted, onRowsLoaded } = request;
    await loadArchive({
      pieces,
      openLanes: (encoding) => this.#openLanes(database, jobs, encoding),
      restoreEntries: async (path, ids) => {
        if (ids.length > 0) await this.#restoreArchive(request, path, ids);
      },
      interrupted,
      onRowsLoaded,
    });
  }

  async loadTogether(request: LoadRequest & Content): Promise<void> {
    const { tools, database, interrupted, onProgress } = request;
    const environment = this.#environment(database, 1, true);
    const content = await this.#understood(request.content);
    const args = ['--single-transaction'];
    await runPsql({ tool: tools.psql, args, environment, content, interrupted, onProgress });
  }

  archiveAsSql({ tools, path, selected, interrupted }: ArchiveRequest): AsyncIterable<Buffer> {
    const { settings, environment, target } = this.#reach;
    const env = toolEnvironment(settings, environment, target);
    return withoutRestriction(
      readArchiveSql({ tool: pgRestoreOf(tools), path, selected, environment: env, interrupted }),
    );
  }

  async #restoreArchive(
    request: LoadRequest & { readonly jobs: number },
    path: string,
    selected: readonly number[] | undefined,
  ): Promise<void> {
    const { tools, database, jobs, interrupted } = request;
    const tool = pgRestoreOf(tools);
    // A pg_restore that connects by itself says the same line to each connection; as text it can be left out.
    if (majorOf(tool.versionNumber) >= 17 && majorOf(await this.#reach.serverVersion()) < 17) {
      const content = this.archiveAsSql({ tools, path, selected, interrupted });
      await this.loadPlain({ ...request, content });
      return;
    }
    const environment = this.#environment(database, jobs);
    await withListOf(selected, path, async (list) => {
      const args = [...list, `--jobs=${jobs}`, databaseArgument(database), path];
      await runPgRestore({ tool, args, environment, interrupted });
    });
  }

  async #understood(content: AsyncIterable<Buffer>): Promise<AsyncIterable<Buffer>> {
    return majorOf(await this.#reach.serverVersion()) < 17 ? withoutTransactionTimeout(content) : content;
  }

  #environment(database: string, jobs: number, durable = false): Record<string, string> {
    const { settings, environment } = this.#reach;
    return {
      ...toolEnvironment(settings, environment, database),
      PGOPTIONS: sessionOptions(maintenanceMemory(jobs), durable),
    };
  }

  async #openLanes(database: string, jobs: number, encoding: string | undefined): Promise<Client[]> {
    const { settings, environment } = this.#reach;
    const lanes: Client[] = [];
    try {
      while (lanes.length < jobs) {
        const client = await connectClient(settings, environment, database);
        lanes.push(client);
        await enterDumpSession(client, encoding);
      }
      return lanes;
    } catch (error) {
      // Fewer take longer, no more than that.
      if (lanes.length > 0 && isTooMany(error)) return lanes;
      await Promise.all(lanes.map((client) => closeClient(client)));
      throw error;
    }
  }
}

const TOO_MANY_CONNECTIONS = '53300';

function isTooMany(error: unknown): boolean {
  const cause = error instanceof LifeboatError ? error.cause : undefined;
  return (cause as { code?: string } | undefined)?.code === TOO_MANY_CONNECTIONS;
}

function pgRestoreOf(tools: RestoreTools): NonNullable<RestoreTools['pgRestore']> {
  if (!tools.pgRestore) throw new LifeboatError('BUG', 'pg_restore was not looked for');
  return tools.pgRestore;
}

/** Megabytes for each session that builds indexes: a sixteenth of this host's memory in all, within reason. */
function maintenanceMemory(jobs: number): number {
  const share = totalmem() / 16 / 1024 / 1024 / jobs;
  return Math.max(64, Math.min(1024, Math.floor(share)));
}
