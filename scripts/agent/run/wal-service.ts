import type { RunRequest } from '../../../lib/domain/run/request.ts';
import { walSettingsOfRequest } from '../../../lib/domain/run/request-settings.ts';
import { ENV } from '../../../lib/domain/names.ts';
import { readDatabaseSecret } from '../aws/database-secret.ts';
import { openWalService } from '../commands/wal/wal-service.ts';
import type { Environment } from '../environment.ts';
import { openMachine } from '../host/machine.ts';
import type { Log } from '../ports/host.ts';
import type { RunService } from '../ports/run.ts';
import { parseSettings, type Settings } from '../settings.ts';

/** The stream of WAL that a series’ runs look after; a restore leaves it alone. */
export function openRunService(
  request: RunRequest,
  { environment, log }: { environment: Environment; log: Log },
): RunService | undefined {
  if (request.operation === 'restore') return undefined;
  const { app, osUser, dbHost, pointInTimeRecovery = false } = request.series;
  const settings = readSettings(request);
  // Wrong settings fail the work, which says so in the run's result.
  if (!settings) return undefined;
  const { backupDir, wal } = settings;
  return openWalService(
    { machine: openMachine({ environment }), log },
    {
      app,
      osUser,
      backupDir,
      dbHost,
      slot: wal.slot,
      wanted: pointInTimeRecovery,
      variables: () => serviceVariables(request, environment),
    },
  );
}

function readSettings(request: RunRequest): Settings | undefined {
  try {
    return parseSettings(walSettingsOfRequest(request));
  } catch {
    return undefined;
  }
}

/** How AWS is reached where that is said to the SSM agent; its keys are not, which the instance hands out to anybody. */
const PASSED_ON = /^(?:AWS_ENDPOINT_URL\w*|AWS_CA_BUNDLE|AWS_USE_\w+|NODE_EXTRA_CA_CERTS)$/;

/** The password goes from Secrets Manager into a file of root's alone, and by systemd into the service's environment. */
async function serviceVariables(
  request: RunRequest,
  environment: Environment,
): Promise<Record<string, string>> {
  const passedOn = Object.entries(environment).flatMap(([name, value]) =>
    value !== undefined && PASSED_ON.test(name) ? [[name, value] as const] : [],
  );
  const variables = { ...Object.fromEntries(passedOn), ...walSettingsOfRequest(request) };
  const arn = request.series.passwordSecretArn;
  if (arn === undefined) return variables;
  const { password, username } = await readDatabaseSecret(arn, {
    ...environment,
    AWS_REGION: request.storage.region,
  });
  return {
    ...variables,
    [ENV.dbPassword]: password,
    ...(username === undefined ? {} : { [ENV.dbUser]: username }),
  };
}
