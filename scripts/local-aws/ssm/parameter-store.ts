import { AwsError } from '../http/aws-error.ts';

export interface StoredParameter {
  readonly name: string;
  readonly type: 'String' | 'StringList' | 'SecureString';
  readonly value: string;
  /** Of a SecureString: the key's ARN. */
  readonly keyArn?: string;
}

/** Parameter Store: what a person, or a template, has put there. */
export class ParameterStore {
  readonly #parameters = new Map<string, StoredParameter>();

  put(parameter: StoredParameter): void {
    this.#parameters.set(parameter.name, parameter);
  }

  find(name: string): StoredParameter | undefined {
    return this.#parameters.get(name);
  }

  /** @throws AwsError ParameterNotFound */
  get(name: string): StoredParameter {
    const found = this.find(name);
    if (found) return found;
    throw new AwsError('ParameterNotFound', `Parameter ${name} not found.`);
  }
}
