import { AwsError } from '../http/aws-error.ts';
import type { Caller } from '../iam/evaluate.ts';
import type { Principal } from './principal.ts';

export type ConditionKeys = Readonly<Record<string, string | readonly string[]>>;

/** One action on one resource, as IAM sees a call; a call can be several of these. */
export interface AccessQuestion {
  readonly caller: Caller;
  /** `ssm:SendCommand` */
  readonly action: string;
  readonly resource: string;
  readonly conditions: ConditionKeys;
}

export interface RecordedCall extends Omit<AccessQuestion, 'caller'> {
  /** A principal's id, or a service such as `events.amazonaws.com`. */
  readonly principal: string;
  readonly allowed: boolean;
  /** Why it was allowed or denied. */
  readonly reason: string;
}

interface Decision {
  readonly allowed: boolean;
  readonly reason: string;
}

/** Evaluates the synthesized policies. */
export type Decide = (question: AccessQuestion) => Decision;

/** What IAM adds to every request of this stand-in: TLS, whatever the loopback speaks. */
const ALWAYS: ConditionKeys = { 'aws:SecureTransport': 'true', 's3:TlsVersion': '1.3' };

/** Records every call of every principal and service, and denies what the policies do not allow. */
export class AccessControl {
  readonly calls: RecordedCall[] = [];
  readonly #decide: Decide;
  readonly #operator: Principal;
  readonly #byKey: ReadonlyMap<string, Principal>;

  /** @param operator the person at the keyboard, who may do everything and is not recorded */
  constructor(principals: readonly Principal[], operator: Principal, decide: Decide) {
    this.#byKey = new Map([operator, ...principals].map((each) => [each.credentials.accessKeyId, each]));
    this.#operator = operator;
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
    if (principal === this.#operator) return;
    const caller = { roleArn: principal.arn };
    this.#checkCaller(caller, principal.id, { action, resource, conditions });
  }

  /** What a service of AWS does for us, by leave of a resource’s policy. @throws AwsError AccessDeniedException */
  checkService(service: string, action: string, resource: string, conditions: ConditionKeys = {}): void {
    this.#checkCaller({ service }, service, { action, resource, conditions });
  }

  /** Without recording it, for what AWS only looks at to choose an answer. */
  wouldAllow(principal: Principal, action: string, resource: string): boolean {
    if (principal === this.#operator) return true;
    return this.#decide({ caller: { roleArn: principal.arn }, action, resource, conditions: ALWAYS }).allowed;
  }

  #checkCaller(caller: Caller, name: string, question: Omit<AccessQuestion, 'caller'>): void {
    const conditions = { ...ALWAYS, ...question.conditions };
    const { allowed, reason } = this.#decide({ ...question, caller, conditions });
    this.calls.push({ ...question, principal: name, allowed, reason });
    if (allowed) return;
    const { action, resource } = question;
    throw new AwsError(
      'AccessDeniedException',
      `${name} is not authorized to perform: ${action} on resource: ${resource} because ${reason}`,
    );
  }
}
