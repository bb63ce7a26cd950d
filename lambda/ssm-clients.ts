import { SSMClient } from '@aws-sdk/client-ssm';
import { openRunCommand, type RunCommand } from './run-command.ts';

const TIMEOUTS = { connectionTimeout: 5_000, socketTimeout: 20_000 };

export function connectRunCommand(): RunCommand {
  return openRunCommand({
    sender: new SSMClient({ maxAttempts: 1, requestHandler: TIMEOUTS }),
    reader: new SSMClient({ maxAttempts: 10, requestHandler: TIMEOUTS }),
  });
}
