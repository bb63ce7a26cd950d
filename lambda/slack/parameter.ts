import { GetParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { LifeboatError } from '../../lib/domain/errors.ts';
import type { Clock } from '../clock.ts';
import { errorName } from '../sdk-error.ts';

export interface SecretParameter {
  /** @throws LifeboatError UNDELIVERED, never with the value */
  read(): Promise<string>;
  /** The next read asks again: whoever changed the value need not wait. */
  forget(): void;
}

/** A changed webhook is used after this long at the latest. */
const KEPT_MS = 5 * 60 * 1000;

export function openParameter(client: SSMClient, name: string, clock: Pick<Clock, 'now'>): SecretParameter {
  let kept: { value: string; readAt: number } | undefined;
  return {
    read: async () => {
      const now = clock.now().getTime();
      if (kept && now - kept.readAt < KEPT_MS) return kept.value;
      kept = { value: await readParameter(client, name), readAt: now };
      return kept.value;
    },
    forget: () => {
      kept = undefined;
    },
  };
}

async function readParameter(client: SSMClient, name: string): Promise<string> {
  try {
    const answer = await client.send(new GetParameterCommand({ Name: name, WithDecryption: true }));
    return answer.Parameter?.Value?.trim() ?? '';
  } catch (error) {
    throw new LifeboatError(
      'UNDELIVERED',
      `The Slack webhook’s URL cannot be read from the parameter ${name}: ${errorName(error)}`,
      {
        hint: `Create it: aws ssm put-parameter --type SecureString --name ${name} --key-id <the stack’s message key> --value <the URL>`,
      },
    );
  }
}

export function connectParameter(name: string, clock: Pick<Clock, 'now'>): SecretParameter {
  const requestHandler = { connectionTimeout: 3_000, socketTimeout: 5_000 };
  return openParameter(new SSMClient({ maxAttempts: 3, requestHandler }), name, clock);
}
