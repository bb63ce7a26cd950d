import { asLifeboatError, EXIT_STATUS, LifeboatError } from '../../../lib/domain/errors.ts';
import type { RunRequest } from '../../../lib/domain/run/request.ts';
import { requireKind, requireThisHost, type AllowedKind } from '../../../lib/domain/run/request-settings.ts';
import { boundResult } from '../../../lib/domain/run/result-bounds.ts';
import {
  RESULT_SCHEMA_VERSION,
  runResultSchema,
  type RunResult,
  type WorkReport,
} from '../../../lib/domain/run/result.ts';
import type { RunPorts } from '../ports/run.ts';

export interface RunOptions {
  readonly only: AllowedKind | undefined;
  readonly agentVersion: string;
}

/**
 * `lifeboat run`: what a Lambda asked for, done once, with its result in the state bucket.
 *
 * A run that this host has taken on always gets a result, however it ends. One that is refused before gets none: the
 * result under its id is another's to write.
 *
 * @throws LifeboatError RUN_REFUSED, RUN_REPEATED
 */
export async function run(ports: RunPorts, request: RunRequest, options: RunOptions): Promise<RunResult> {
  const { clock } = ports;
  const began = clock.monotonic();
  const startedAt = clock.now().toISOString();
  requireKind(request, options.only);
  requireThisHost(request, ports.site.instanceId);
  const warnings = await takeOn(ports, request);
  warnings.push(...((await ports.service?.keep()) ?? []));
  const report = await work(ports, request);
  warnings.push(...((await ports.service?.check()) ?? []));
  const result = boundResult({
    schemaVersion: RESULT_SCHEMA_VERSION,
    runId: request.runId,
    operation: request.operation,
    app: request.series.app,
    database: request.restore?.database ?? request.series.database,
    host: ports.site.hostName,
    instanceId: request.instanceId,
    nonce: request.nonce,
    commandId: ports.site.commandId ?? null,
    agentVersion: options.agentVersion,
    startedAt,
    finishedAt: clock.now().toISOString(),
    durationMs: Math.round(clock.monotonic() - began),
    ...report,
    warnings: [...warnings, ...report.warnings],
  });
  await keep(ports, runResultSchema.parse(result));
  return result;
}

/** @returns warnings: what could not be made sure of */
async function takeOn(ports: RunPorts, request: RunRequest): Promise<string[]> {
  const warnings: string[] = [];
  const doubt = (error: unknown): void => {
    warnings.push(`Whether this run was done before is not sure: ${asLifeboatError(error).message}`);
    ports.log.warn(warnings.at(-1)!);
  };
  const claimed = await ports.claims.claim(request.runId).catch((error: unknown) => {
    // A second backup is one backup more; a second restore may undo what was written since the first.
    if (request.operation === 'restore') throw error;
    doubt(error);
    return true;
  });
  if (!claimed) throw repeated(request, 'this host has taken it on before');
  const found = await ports.results.find().catch((error: unknown) => {
    // S3 may be what has failed tonight, which is when the local copy counts. The host's own journal has answered.
    doubt(error);
    return 'none' as const;
  });
  if (found === 'own') throw repeated(request, 'its result lies in the state bucket');
  // Whoever could make a run look done could keep a database without backups.
  if (found === 'foreign') {
    warnings.push('In the place of this run’s result lies one that another wrote; it was not believed');
    ports.log.warn(warnings.at(-1)!);
  }
  return warnings;
}

function repeated({ runId }: RunRequest, why: string): LifeboatError {
  return new LifeboatError('RUN_REPEATED', `The run ${runId} is refused: ${why}`);
}

async function work(ports: RunPorts, request: RunRequest): Promise<WorkReport> {
  const report = await ports.work.do().catch((error: unknown): WorkReport => {
    const failure = asLifeboatError(error);
    ports.tell(failure);
    const { code, message, hint, exitStatus } = failure;
    return { warnings: [], outcome: null, failure: { code, message, hint }, exitStatus };
  });
  if (request.operation !== 'restore' || !report.failure || report.targetUntouched !== undefined)
    return report;
  // Nobody saw how far it came, unless it never began.
  return { ...report, targetUntouched: NEVER_BEGAN.has(report.exitStatus) };
}

const NEVER_BEGAN: ReadonlySet<number> = new Set([EXIT_STATUS.usage, EXIT_STATUS.refused]);

/** What cannot be written changes nothing about the run: its verdict goes out with SSM's answer all the same. */
async function keep(ports: RunPorts, result: RunResult): Promise<void> {
  try {
    await ports.results.put(result);
  } catch (error) {
    const { message, code } = asLifeboatError(error);
    ports.log.warn(`The run’s result was not written to the state bucket (${code}): ${message}`);
  }
}
