import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { asLifeboatError, EXIT_STATUS, LifeboatError } from '../../../lib/domain/errors.ts';
import { ENV } from '../../../lib/domain/names.ts';
import { decodeRequest, type RunRequest } from '../../../lib/domain/run/request.ts';
import { settingsOfRequest } from '../../../lib/domain/run/request-settings.ts';
import type { WorkReport } from '../../../lib/domain/run/result.ts';
import type { Answer } from '../answer.ts';
import { readDatabaseSecret } from '../aws/database-secret.ts';
import { openContext } from '../context.ts';
import { readProcessEnvironment, type Environment } from '../environment.ts';
import { becomeUser } from '../host/work-user.ts';
import { doOperation, type OperationEnd } from '../run/operations.ts';

/** The child of `run`: becomes the series' user, does the work, and prints its report as JSON. */
export async function runWork(options: Readonly<Record<string, unknown>>): Promise<Answer> {
  endWithParent();
  try {
    const request = decodeRequest(String(options['request']));
    await becomeUser(request.series.osUser);
    await requireReadable(process.argv[1]!, request.series.osUser);
    const context = openContext({ json: true, environment: await workSettings(request) });
    const end = await doOperation(context, request);
    return { lines: [], json: toReport(end), failure: end.failure };
  } catch (error) {
    const failure = asLifeboatError(error);
    return { lines: [], json: toFailure(failure), failure };
  }
}

/** The parent holds the other end. Killed alone (`timeout -k` does that), it leaves us to tidy up as after SIGTERM. */
function endWithParent(): void {
  process.stdin.on('error', () => undefined);
  process.stdin.once('close', () => process.kill(process.pid, 'SIGTERM'));
  process.stdin.resume();
}

/** The rest of the program is loaded as the user. */
async function requireReadable(program: string, user: string): Promise<void> {
  await access(program, constants.R_OK).catch((cause: unknown) => {
    throw new LifeboatError('RUN_REFUSED', `The user ${user} may not read the agent ${program}`, {
      cause,
      hint: 'Install it where every user may read it, such as below /opt/lifeboat.',
    });
  });
}

async function workSettings(request: RunRequest): Promise<Environment> {
  const environment = { ...readProcessEnvironment(), ...settingsOfRequest(request) };
  const arn = request.series.passwordSecretArn;
  if (arn === undefined) return environment;
  const { password, username } = await readDatabaseSecret(arn, environment);
  return {
    ...environment,
    [ENV.dbPassword]: password,
    ...(username === undefined ? {} : { [ENV.dbUser]: username }),
  };
}

function toReport({ failure, outcome, warnings, targetUntouched }: OperationEnd): WorkReport {
  return {
    ...(failure ? toFailure(failure) : { failure: null, exitStatus: EXIT_STATUS.success }),
    warnings: [...warnings],
    outcome,
    ...(targetUntouched === undefined ? {} : { targetUntouched }),
  };
}

function toFailure({ code, message, hint, exitStatus }: LifeboatError): WorkReport {
  return { warnings: [], outcome: null, failure: { code, message, hint }, exitStatus };
}
