import type { Principal } from '../access/principal.ts';

/** One verified call of an operation. */
export interface ServiceCall {
  readonly operation: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly caller: Principal;
}

/** A service of the local AWS: one function for all of its operations. @throws AwsError */
export type Service = (call: ServiceCall) => Promise<Readonly<Record<string, unknown>>>;
