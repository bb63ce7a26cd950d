import { combineProblems, LifeboatError } from '../../../../lib/domain/errors.ts';
import { factsOfName } from '../../../../lib/domain/restore/backup-facts.ts';
import { requireTargetName } from '../../../../lib/domain/restore/database-names.ts';
import type { ServerFacts } from '../../../../lib/domain/restore/preflight-facts.ts';
import { checkRestore } from '../../../../lib/domain/restore/preflight.ts';
import { isWanted, parseTableList, type QualifiedName } from '../../../../lib/domain/restore/table-names.ts';
import { planTables } from '../../../../lib/domain/restore/table-plan.ts';
import type { RestorePorts } from '../../ports/restore.ts';
import type { TargetServer } from '../../ports/target-server.ts';
import type { RestoreRequest } from '../restore/restore.ts';

/** What a load is going to do to its target, as far as it can be told before there is a dump. */
export type TargetAction =
  | { readonly kind: 'create' }
  /** It is there and empty. */
  | { readonly kind: 'fill' }
  /** It holds data, which is kept under another name. */
  | { readonly kind: 'replace'; readonly contents: string }
  | {
      readonly kind: 'tables';
      readonly exists: boolean;
      readonly moved: readonly (QualifiedName & { readonly to: string })[];
    };

/**
 * Whether the live server would take what is to come, asked before a recovery that may take hours; the load asks again.
 * @throws LifeboatError TARGET_NOT_EMPTY, DB_CONNECT, DB_RIGHTS, CLIENT_MISSING, RESTORE_REFUSED, or PREFLIGHT_FAILED with several
 */
export async function checkTarget(ports: RestorePorts, request: RestoreRequest): Promise<TargetAction> {
  requireTargetName(request.database);
  if (request.tables !== undefined) parseTableList(request.tables);
  const server = await ports.connectServer(request.database).catch((error: unknown) => {
    throw withWayOut(error);
  });
  try {
    const facts = await server.facts({ extensions: [], settings: [], collations: [], locale: undefined });
    return request.tables === undefined
      ? await checkDatabase(ports, server, request, facts)
      : await checkTables(ports, server, request, facts);
  } finally {
    await server.close();
  }
}

/** It may be the live server's loss that is to be made good. */
function withWayOut(error: unknown): unknown {
  if (!(error instanceof LifeboatError) || error.code !== 'DB_CONNECT') return error;
  return new LifeboatError('DB_CONNECT', error.message, {
    hint: `${error.hint} A database is loaded into a running server; to recover the whole cluster instead, leave out --database and --table.`,
    cause: error,
  });
}

async function checkDatabase(
  ports: RestorePorts,
  server: TargetServer,
  request: RestoreRequest,
  facts: ServerFacts,
): Promise<TargetAction> {
  const targetFacts = await server.describeTarget();
  await refuseProblems(ports, server, { request, facts, targetFacts });
  if (!targetFacts) return { kind: 'create' };
  const { contents } = targetFacts;
  return contents === undefined ? { kind: 'fill' } : { kind: 'replace', contents };
}

async function checkTables(
  ports: RestorePorts,
  server: TargetServer,
  request: RestoreRequest,
  facts: ServerFacts,
): Promise<TargetAction> {
  await refuseProblems(ports, server, { request, facts, targetFacts: undefined });
  const exists = facts.databases.includes(request.database);
  const present = exists ? await server.presentTables(request.database) : [];
  const wanted = parseTableList(request.tables ?? '');
  const there = present.filter((table) => wanted.some((each) => isWanted(each, table)));
  const { moved } = planTables({
    target: request.database,
    selection: { tables: there, entries: [], leftOutKeys: [] },
    present,
    counted: undefined,
    replace: request.replace,
    now: ports.clock.now(),
  });
  return { kind: 'tables', exists, moved };
}

async function refuseProblems(
  ports: RestorePorts,
  server: TargetServer,
  {
    request,
    ...found
  }: Pick<Parameters<typeof checkRestore>[0], 'targetFacts'> & {
    readonly request: RestoreRequest;
    readonly facts: ServerFacts;
  },
): Promise<void> {
  const { problems } = checkRestore({
    backup: factsOfName(request.source, 0, 'plain'),
    target: request.database,
    server: found.facts,
    targetFacts: found.targetFacts,
    tools: await server.tools('plain'),
    rolesToCome: [],
    replace: request.replace,
    forceOlder: request.forceOlder,
    disk: { folder: ports.files.folder, needed: 0, free: 0 },
  });
  const problem = combineProblems(problems);
  if (problem) throw problem;
}
