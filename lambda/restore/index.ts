import { openBuckets } from '../clients.ts';
import { systemClock } from '../clock.ts';
import { optionalVariable, readDeployment, region, requireVariable } from '../environment.ts';
import { lazily, tellingErrors } from '../handler.ts';
import { openLog } from '../log.ts';
import { connectRunCommand } from '../ssm-clients.ts';
import { makeHandler } from './handler.ts';

/** Invoked by hand: see lib/domain/restore/remote-payload.ts for what it takes. */
export const handler = lazily(() => {
  const config = readDeployment();
  const log = openLog({ deployment: config.name, now: systemClock.now });
  const edges = {
    ...openBuckets(),
    config,
    log,
    clock: systemClock,
    commands: connectRunCommand(),
    region: region(),
    restoreDocument: requireVariable('restoreDocument'),
    logGroup: optionalVariable('commandLogGroup'),
  };
  return tellingErrors(log, makeHandler(edges));
});
