import type { AccessControl } from '../access/access-control.ts';
import { AwsError } from '../http/aws-error.ts';
import type { Service } from '../http/service.ts';

/** @param secrets by ARN */
export function secretsService(secrets: Readonly<Record<string, string>>, access: AccessControl): Service {
  return async ({ operation, input, caller }) => {
    if (operation !== 'GetSecretValue')
      throw new AwsError('UnknownOperationException', `the local Secrets Manager knows no ${operation}`);
    const arn = String(input['SecretId']);
    access.check(caller, 'secretsmanager:GetSecretValue', arn);
    const value = secrets[arn];
    if (value === undefined)
      throw new AwsError('ResourceNotFoundException', 'Secrets Manager can’t find the specified secret.');
    return { ARN: arn, Name: arn, SecretString: value, VersionId: 'local' };
  };
}
