import type { Environment } from '../environment.ts';

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/**
 * Keys given as variables, those of `.env` among them, where the SDK itself would not look; `undefined` leaves the search
 * to the SDK. As there, a profile named as a variable goes before them.
 */
export function credentialsFrom(environment: Environment): AwsCredentials | undefined {
  const accessKeyId = environment['AWS_ACCESS_KEY_ID'];
  const secretAccessKey = environment['AWS_SECRET_ACCESS_KEY'];
  if (!accessKeyId || !secretAccessKey || environment['AWS_PROFILE']) return undefined;
  const sessionToken = environment['AWS_SESSION_TOKEN'];
  return { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) };
}
