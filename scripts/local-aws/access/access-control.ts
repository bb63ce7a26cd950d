import { AwsError } from '../http/aws-error.ts';
import type { Principal } from './principal.ts';

export type ConditionKeys = Readonly<Record<string, string | readonly string[]>>;

/** One action on one resource, as IAM sees a call; a call can be several of these. */
export interface AccessRequest {
  readonly principal: Principal;
  /** `ssm:SendCommand` */
  readonly action: string;
  readonly resource: string;
  readonly conditions: ConditionKeys;
}

export interface RecordedCall {
  readonly principal: string;
  readonly action: string;
  readonly resource: string;
  readonly conditions: ConditionKeys;
  readonly allowed: boolean;
  /** Why it was allowed or denied, in the evaluator’s words. */
  readonly reason: string;
}

export interface Decision {
  readonly allowed: boolean;
  readonly reason: string;
}

/** Evaluates the synthesized policies. */
export type Decide = (request: AccessRequest) => Decision;

/** What IAM adds to every request of this stand-in: TLS, whatever the loopback speaks. */
const ALWAYS: ConditionKeys = { 'aws:SecureTransport': 'true', 's3:TlsVersion': '1.3' };

/** Records every call of every principal, and denies what the policies do not allow. */
export class AccessControl {
  readonly calls: RecordedCall[] = [];
  readonly #decide: Decide;
  readonly #byKey: ReadonlyMap<string, Principal>;

  constructor(principals: readonly Principal[], decide: Decide) {
    this.#byKey = new Map(principals.map((each) => [each.credentials.accessKeyId, each]));
    this.#decide = decide;
  }

  /** @throws AwsError for a key that belongs to nobody */
  principal(accessKeyId: string): Principal {
    const found = this.#byKey.get(accessKeyId);
    if (found) return found;
    throw new AwsError(
      'UnrecognizedClientException',
      'The security token included in the request is invalid.',
      403,
    );
  }

  /** @throws AwsError AccessDeniedException, after it was recorded */
  check(principal: Principal, action: string, resource: string, conditions: ConditionKeys = {}): void {
    const { allowed, reason } = this.decide(principal, action, resource, conditions);
    this.#record({ principal: principal.id, action, resource, conditions, allowed, reason });
    if (allowed) return;
    throw new AwsError(
      'AccessDeniedException',
      `User: ${principal.arn} is not authorized to perform: ${action} on resource: ${resource} because ${reason}`,
      400,
    );
  }

  /** Without recording it, for what AWS only looks at to choose an answer. */
  decide(principal: Principal, action: string, resource: string, conditions: ConditionKeys = {}): Decision {
    return this.#decide({ principal, action, resource, conditions: { ...ALWAYS, ...conditions } });
  }

  #record(call: RecordedCall): void {
    this.calls.push(call);
  }
}
