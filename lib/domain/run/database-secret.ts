import { z } from 'zod';
import { LifeboatError } from '../errors.ts';

export interface DatabaseSecret {
  readonly password: string;
  /** Of a secret in RDS’ form: the password is this role's. */
  readonly username: string | undefined;
}

const rdsForm = z.object({ password: z.string().min(1), username: z.string().min(1).optional() });

/**
 * A secret's text: the password itself, or JSON with `password` and perhaps `username`, as RDS and the console write it
 * (https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html).
 * @throws LifeboatError SECRET_UNREADABLE, which never repeats any of it
 */
export function parseDatabaseSecret(text: string, arn: string): DatabaseSecret {
  const value = parseObject(text);
  if (!value) {
    // Secrets made from a file end with its line feed, which is nobody's password.
    const password = text.replace(/\r?\n$/, '');
    if (password !== '' && !password.includes('\0')) return { password, username: undefined };
    throw new LifeboatError('SECRET_UNREADABLE', `The secret ${arn} is empty or holds a zero byte`, {
      hint: HINT,
    });
  }
  const parsed = rdsForm.safeParse(value);
  if (parsed.success && !parsed.data.password.includes('\0'))
    return { password: parsed.data.password, username: parsed.data.username };
  throw new LifeboatError(
    'SECRET_UNREADABLE',
    `The secret ${arn} is JSON without a "password" that is text`,
    {
      hint: HINT,
    },
  );
}

const HINT = 'Store the password as plain text, or as JSON: {"username": "…", "password": "…"}';

function parseObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    // No JSON: the text is the password.
    return undefined;
  }
}
