import type { SecretsManagerClientConfig } from '@aws-sdk/client-secrets-manager';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { parseDatabaseSecret, type DatabaseSecret } from '../../../lib/domain/run/database-secret.ts';
import { credentialsFrom } from './credentials.ts';
import { exportAwsVariables, type Environment } from '../environment.ts';

const ATTEMPTS = 5;
const CONNECT_MS = 5_000;
const ANSWER_MS = 10_000;

/**
 * Reads the database's password with the host's own rights. The SDK is loaded only here: most databases are reached over
 * the local socket and need none.
 * @throws LifeboatError SECRET_UNREADABLE; the secret is in no message
 */
export async function readDatabaseSecret(arn: string, environment: Environment): Promise<DatabaseSecret> {
  exportAwsVariables(environment);
  const { SecretsManagerClient, GetSecretValueCommand } = await import('@aws-sdk/client-secrets-manager');
  const client = new SecretsManagerClient(clientConfig(arn, environment));
  let text: string | undefined;
  try {
    text = (await client.send(new GetSecretValueCommand({ SecretId: arn }))).SecretString;
  } catch (error) {
    throw unreadable(arn, error);
  } finally {
    client.destroy();
  }
  if (text === undefined)
    throw new LifeboatError('SECRET_UNREADABLE', `The secret ${arn} is binary; a password is text`);
  return parseDatabaseSecret(text, arn);
}

function clientConfig(arn: string, environment: Environment): SecretsManagerClientConfig {
  const endpoint = environment['AWS_ENDPOINT_URL_SECRETS_MANAGER'] || environment['AWS_ENDPOINT_URL'];
  const credentials = credentialsFrom(environment);
  const profile = environment['AWS_PROFILE'];
  return {
    // A secret lies in one region; the bucket may lie in another.
    region: arn.split(':')[3]!,
    maxAttempts: ATTEMPTS,
    requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout: ANSWER_MS, throwOnRequestTimeout: true },
    ...(endpoint ? { endpoint } : {}),
    ...(profile ? { profile } : {}),
    ...(credentials ? { credentials } : {}),
  };
}

/** The SDK's error holds the signed request: only its words go on. */
function unreadable(arn: string, error: unknown): LifeboatError {
  const { name, message, code } = error as { name?: string; message?: string; code?: string };
  const reason = [name === 'Error' ? code : name, message].filter(Boolean).join(': ');
  return new LifeboatError(
    'SECRET_UNREADABLE',
    `The database’s password could not be read from ${arn}: ${reason || 'no reason given'}`,
  );
}
