import { systemClock } from '../clock.ts';
import { optionalVariable, readDeployment, requireVariable, slackOriginOfTests } from '../environment.ts';
import { lazily, tellingErrors } from '../handler.ts';
import { openLog } from '../log.ts';
import { makeHandler } from './handler.ts';
import { connectParameter } from './parameter.ts';

/** Reads the queue that the topic fills. */
export const handler = lazily(() => {
  const { name, notifications } = readDeployment();
  const log = openLog({ deployment: name, now: systemClock.now });
  return tellingErrors(
    log,
    makeHandler({
      clock: systemClock,
      log,
      testOrigin: slackOriginOfTests(),
      parameter: connectParameter(requireVariable('slackParameter'), systemClock),
      alarms: {
        deployment: name,
        runbookUrl: notifications.runbookUrl,
        dashboardUrl: optionalVariable('dashboardUrl'),
      },
    }),
  );
});
