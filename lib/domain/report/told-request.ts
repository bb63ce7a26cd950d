import { z } from 'zod';
import { asLifeboatError } from '../errors.ts';
import { BACKUP_KINDS, type BackupKind } from '../run/backup-kind.ts';
import { parseRequest, RUN_OPERATIONS, type RunOperation } from '../run/request.ts';
import { runTime } from '../run/run-id.ts';

/** As much of a request as telling of its run needs. */
export interface ToldRequest {
  readonly runId: string;
  readonly operation: RunOperation;
  /** Of a backup; a dump where it is left out. */
  readonly kind?: BackupKind | undefined;
  /** Empty where it is not known. */
  readonly instanceId: string;
  /** What a result of the run repeats; `undefined` where it is not known. */
  readonly nonce?: string | undefined;
  readonly requestedAt: string;
  readonly deadline: string;
  readonly series: { readonly app: string; readonly database: string };
  readonly storage: {
    /** Empty where it is not known. */
    readonly region: string;
    readonly prefix: string;
  };
  readonly restore?: { readonly source: string; readonly database: string } | undefined;
  /** Why it is not a whole request, as one sentence. */
  readonly unreadable?: string;
}

/** No deadline is later (lib/domain/start/request.ts); the watch looks back four days. */
const LONGEST_RUN_MS = 75 * 60 * 60 * 1000;

/**
 * A request that another version of the stack wrote, or nobody, is no reason to be silent about its run: what can be read
 * of it is used, and the message says that it was not all.
 * @param json as in `request.json`
 */
export function readToldRequest(json: string, runId: string): ToldRequest {
  try {
    return parseRequest(json);
  } catch (error) {
    const read = readable.parse(parseJson(json));
    const due = runTime(runId) ?? new Date(0);
    return {
      ...read,
      runId,
      requestedAt: read.requestedAt ?? due.toISOString(),
      deadline: read.deadline ?? new Date(due.getTime() + LONGEST_RUN_MS).toISOString(),
      unreadable: `What the run was asked for cannot be read by this version: ${asLifeboatError(error).message.slice(0, 500)}`,
    };
  }
}

const UNKNOWN = 'unknown';
const name = z.string().min(1).max(63);
const time = z.iso.datetime().optional().catch(undefined);

const readable = z
  .object({
    operation: z.enum([...RUN_OPERATIONS, 'restore']).catch('backup'),
    kind: z.enum(BACKUP_KINDS).optional().catch(undefined),
    instanceId: z.string().max(64).catch(''),
    nonce: z.string().max(64).optional().catch(undefined),
    requestedAt: time,
    deadline: time,
    series: z.object({ app: name.catch(UNKNOWN), database: name.catch(UNKNOWN) }).catch({
      app: UNKNOWN,
      database: UNKNOWN,
    }),
    storage: z
      .object({
        region: z
          .string()
          .regex(/^[a-z0-9-]{1,32}$/)
          .catch(''),
        prefix: z.string().max(1024).catch(''),
      })
      .catch({ region: '', prefix: '' }),
    restore: z
      .object({ source: z.string().max(1024), database: name })
      .optional()
      .catch(undefined),
  })
  .catch({
    operation: 'backup',
    instanceId: '',
    series: { app: UNKNOWN, database: UNKNOWN },
    storage: { region: '', prefix: '' },
  });

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined; // Then nothing of it is known.
  }
}
