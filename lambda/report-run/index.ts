import { openBuckets } from '../clients.ts';
import { systemClock } from '../clock.ts';
import { functionNames, optionalVariable, readDeployment, requireVariable } from '../environment.ts';
import { lazily, tellingErrors } from '../handler.ts';
import { openLog } from '../log.ts';
import { connectRunCommand } from '../ssm-clients.ts';
import { connectTopic } from '../topic.ts';
import { makeHandler } from './handler.ts';

/** Invoked by EventBridge when an invocation of one of our documents has ended. */
export const handler = lazily(() => {
  const { name, storage } = readDeployment();
  const log = openLog({ deployment: name, now: systemClock.now });
  const edges = {
    ...openBuckets(),
    log,
    clock: systemClock,
    commands: connectRunCommand(),
    topic: connectTopic(requireVariable('topicArn')),
    documents: [requireVariable('backupDocument'), requireVariable('restoreDocument')],
    statePrefix: storage.prefix,
    dashboardUrl: optionalVariable('dashboardUrl'),
    functions: functionNames(),
  };
  return tellingErrors(log, makeHandler(edges));
});
