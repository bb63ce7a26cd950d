import { openBuckets } from '../clients.ts';
import { systemClock } from '../clock.ts';
import { connectInstances } from '../ec2-clients.ts';
import { optionalVariable, readDeployment, region, requireVariable } from '../environment.ts';
import { lazily, tellingErrors } from '../handler.ts';
import { openLog } from '../log.ts';
import { connectRunCommand } from '../ssm-clients.ts';
import { connectTopic } from '../topic.ts';
import { makeHandler } from './handler.ts';

/** Invoked by the schedule and by hand: see lib/domain/start/payload.ts for what it takes. */
export const handler = lazily(() => {
  const config = readDeployment();
  const log = openLog({ deployment: config.name, now: systemClock.now });
  const { backups, state } = openBuckets();
  const edges = {
    config,
    state,
    log,
    clock: systemClock,
    commands: connectRunCommand(),
    instances: connectInstances(),
    topic: connectTopic(requireVariable('topicArn')),
    dashboardUrl: optionalVariable('dashboardUrl'),
    region: region(),
    bucket: backups.name,
    backupDocument: requireVariable('backupDocument'),
    logGroup: optionalVariable('commandLogGroup'),
  };
  return tellingErrors(log, makeHandler(edges), 'start-run');
});
