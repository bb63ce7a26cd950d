import { openBuckets } from '../clients.ts';
import { systemClock } from '../clock.ts';
import { connectInstances } from '../ec2-clients.ts';
import { functionNames, optionalVariable, readDeployment, requireVariable } from '../environment.ts';
import { lazily, tellingErrors } from '../handler.ts';
import { openLog } from '../log.ts';
import { connectRunCommand } from '../ssm-clients.ts';
import { connectTopic } from '../topic.ts';
import { makeHandler } from './handler.ts';

/** Invoked every five minutes. */
export const handler = lazily(() => {
  const config = readDeployment();
  const log = openLog({ deployment: config.name, now: systemClock.now });
  const edges = {
    ...openBuckets(),
    config,
    log,
    clock: systemClock,
    commands: connectRunCommand(),
    instances: connectInstances(),
    topic: connectTopic(requireVariable('topicArn')),
    statePrefix: config.storage.prefix,
    dashboardUrl: optionalVariable('dashboardUrl'),
    functions: functionNames(),
  };
  return tellingErrors(log, makeHandler(edges));
});
