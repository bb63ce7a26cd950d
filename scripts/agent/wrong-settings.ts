import { hostname } from 'node:os';
import type { LifeboatError } from '../../lib/domain/errors.ts';
import { ENV } from '../../lib/domain/names.ts';
import { describeBackup } from '../../lib/domain/notify/wording.ts';
import { readEnvironment, readProcessEnvironment, type Environment } from './environment.ts';
import { systemClock } from './host/clock.ts';
import { openChannels } from './notify/channels.ts';
import { deliver } from './ports/notify.ts';
import { parseNotifySettings } from './settings.ts';

/** The message of a backup that could not even start. Whoever started the run by id tells people himself. */
export async function tellOfWrongSettings({ code, message, hint }: LifeboatError): Promise<void> {
  const environment = readWhatCanBeRead();
  if (environment[ENV.runId]) return;
  const hostName = hostname();
  const channels = openChannels(parseNotifySettings(environment), {
    clock: systemClock,
    hostName,
    environment,
  });
  const outcome = {
    succeeded: false,
    app: environment[ENV.appName] || 'hostmaster',
    host: hostName,
    runId: 'not started',
    database: environment[ENV.dbName] || 'not set',
    durationMs: 0,
    warnings: [],
    error: { code, message, hint },
    lastGood: 'unknown',
  } as const;
  // What cannot be delivered changes nothing: the run has failed, and says so on standard error.
  await deliver(channels, describeBackup(outcome, systemClock.now()));
}

/** A `.env` that cannot be read may be the very thing to tell of; what is exported still says how to reach people. */
function readWhatCanBeRead(): Environment {
  try {
    return readEnvironment();
  } catch {
    return readProcessEnvironment();
  }
}
