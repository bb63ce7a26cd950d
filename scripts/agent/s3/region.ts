import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Environment } from '../environment.ts';

const METADATA_SERVICE = 'http://169.254.169.254';
const METADATA_TIMEOUT_MS = 1_000;

/** Servers that stand in for S3 check the signature's region at most against this one. */
const STAND_IN_REGION = 'us-east-1';

/**
 * AWS_REGION, AWS_DEFAULT_REGION (as the AWS CLI reads it), the profile's, the instance's own.
 * @throws LifeboatError SETTINGS_INVALID when none of them says.
 */
export async function findRegion(
  environment: Environment,
  endpoint: string | undefined,
  ofProfile: () => Promise<string | undefined>,
): Promise<string> {
  const region =
    environment['AWS_REGION'] || environment['AWS_DEFAULT_REGION'] || (await ofProfile()) || undefined;
  if (region) return region;
  if (endpoint !== undefined) return STAND_IN_REGION;
  const ofInstance = await instanceRegion(environment);
  if (ofInstance) return ofInstance;
  throw new LifeboatError(
    'SETTINGS_INVALID',
    'The AWS region is not known: AWS_REGION is not set, no profile names one, and this is no EC2 instance that tells it',
    { hint: 'Set the bucket’s region in the environment or in .env, as in: export AWS_REGION=us-east-1' },
  );
}

/**
 * What the instance metadata service (IMDSv2) says; `undefined` where there is none.
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
 */
async function instanceRegion(environment: Environment): Promise<string | undefined> {
  if (environment['AWS_EC2_METADATA_DISABLED']?.toLowerCase() === 'true') return undefined;
  const service = environment['AWS_EC2_METADATA_SERVICE_ENDPOINT'] || METADATA_SERVICE;
  try {
    const token = await ask(new URL('/latest/api/token', service), 'PUT', {
      'x-aws-ec2-metadata-token-ttl-seconds': '60',
    });
    const region = await ask(new URL('/latest/meta-data/placement/region', service), 'GET', {
      'x-aws-ec2-metadata-token': token,
    });
    return /^[a-z0-9-]+$/.test(region) ? region : undefined;
  } catch {
    // Not on EC2, or not allowed to ask: the caller says what to set.
    return undefined;
  }
}

async function ask(url: URL, method: string, headers: Record<string, string>): Promise<string> {
  const answer = await fetch(url, { method, headers, signal: AbortSignal.timeout(METADATA_TIMEOUT_MS) });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return (await answer.text()).trim();
}
