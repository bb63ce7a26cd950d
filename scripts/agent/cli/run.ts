import { hostname } from 'node:os';
import { asLifeboatError } from '../../../lib/domain/errors.ts';
import { LogExtract } from '../../../lib/domain/run/log-extract.ts';
import { decodeRequest, type RunRequest } from '../../../lib/domain/run/request.ts';
import { settingsOfRequest, type AllowedKind } from '../../../lib/domain/run/request-settings.ts';
import { formatVerdict, formatVerdictLine } from '../../../lib/domain/run/result.ts';
import type { Answer } from '../answer.ts';
import { run } from '../commands/run.ts';
import { readProcessEnvironment, type Environment } from '../environment.ts';
import { systemClock } from '../host/clock.ts';
import { openRunClaims, runClaimsFolder } from '../host/run-claims.ts';
import { openTerminal } from '../host/terminal.ts';
import { doWork } from '../host/work-process.ts';
import { makeFolderFor, requireWorkUser } from '../host/work-user.ts';
import { watchForInterruption } from '../interruption.ts';
import type { RunPorts } from '../ports/run.ts';
import { renderError } from '../render/error.ts';
import { openRunService } from '../run/wal-service.ts';
import { openRunResults } from '../s3/run-results.ts';
import { parseSettings } from '../settings.ts';
import { LIFEBOAT_VERSION } from '../version.ts';

type Options = Readonly<Record<string, unknown>>;

/**
 * What SSM starts, as root: it keeps the run's books (once, result, verdict) and leaves the work to a child of its own that
 * is the series' user. So there is a result even of work that the kernel killed.
 */
export async function runRun(options: Options): Promise<Answer> {
  const extract = new LogExtract();
  const say = (text: string): void => {
    process.stderr.write(text);
    extract.add(text);
  };
  const interrupted = watchForInterruption();
  const encoded = String(options['request']);
  let request: RunRequest | undefined;
  try {
    request = decodeRequest(encoded);
    const ports = openRunPorts({ encoded, request, interrupted, say });
    const only = options['only'] as AllowedKind | undefined;
    const result = await run(ports, request, { only, agentVersion: LIFEBOAT_VERSION });
    return answer(formatVerdict(result), extract, result.exitStatus);
  } catch (error) {
    const failure = asLifeboatError(error);
    say(`${renderError(failure, new Date())}\n`);
    const { code, message, exitStatus } = failure;
    const runId = request?.runId ?? 'unknown';
    const verdict = formatVerdictLine({ runId, succeeded: false, exitStatus, code, message });
    return answer(verdict, extract, exitStatus);
  }
}

/** SSM shows the first 24,000 characters, people look at the end: the verdict stands at both. */
function answer(verdict: string, extract: LogExtract, exitStatus: number): Answer {
  return { lines: [verdict, ...extract.end(), verdict], json: undefined, exitStatus };
}

interface Ground {
  readonly encoded: string;
  readonly request: RunRequest;
  readonly interrupted: AbortSignal;
  readonly say: (text: string) => void;
}

function openRunPorts(ground: Ground): RunPorts {
  const { request, interrupted, say } = ground;
  const environment = readProcessEnvironment();
  const commandId = environment['SSM_COMMAND_ID'] || undefined;
  const { log } = openTerminal({ write: say }, systemClock);
  const note = JSON.stringify({ startedAt: systemClock.now().toISOString(), commandId });
  return {
    claims: openRunClaims(runClaimsFolder(environment), note),
    results: openRunResults(request, { environment, interrupted }),
    work: { do: () => startWork(ground, environment) },
    service: openRunService(request, { environment, log }),
    site: {
      hostName: hostname(),
      instanceId: environment['AWS_SSM_INSTANCE_ID'] || undefined,
      commandId,
    },
    clock: systemClock,
    log,
    tell: (failure) => say(`${renderError(failure, new Date())}\n`),
  };
}

async function startWork({ encoded, request, interrupted, say }: Ground, environment: Environment) {
  const settings = parseSettings(settingsOfRequest(request));
  const user = await requireWorkUser(request.series.osUser);
  await makeFolderFor(user, settings.backupDir);
  return await doWork({
    request: encoded,
    user,
    environment,
    region: request.storage.region,
    onLog: say,
    interrupted,
  });
}
