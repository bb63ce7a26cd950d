import { SSMClient } from '@aws-sdk/client-ssm';
import { systemClock } from './clock.ts';
import { ec2Endpoint } from './environment.ts';
import { openInstances, type Instances } from './instances.ts';

/** A file of its own: whoever asks EC2 nothing carries no XML parser. */
export function connectInstances(): Instances {
  const { config: signing } = new SSMClient({});
  return openInstances({ signing, endpoint: ec2Endpoint(), clock: systemClock });
}
