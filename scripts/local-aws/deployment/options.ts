import type { Account } from '../cloudformation/deployed-stacks.ts';
import type { HostSpecification } from '../ssm/managed-host.ts';
import type { StoredParameter } from '../ssm/parameter-store.ts';

/** `who`: a service of AWS or a function. */
export type Tell = (who: string, what: string) => void;

export interface LocalAwsOptions {
  /** What `cdk synth` left; both stacks. */
  readonly cdkOut: string;
  /** For everything that is kept: buckets, the hosts’ own files. Others than we must be able to enter it. */
  readonly folder: string;
  readonly hosts: readonly HostSpecification[];
  readonly account?: Account;
  /** What a person would have put into Parameter Store. A key of the templates can be named by its logical id’s part. */
  readonly parameters?: readonly (Omit<StoredParameter, 'keyArn'> & { readonly key?: string })[];
  /** By ARN. */
  readonly secrets?: Readonly<Record<string, string>>;
  /** Added to every function’s own variables. */
  readonly functionEnvironment?: Readonly<Record<string, string>>;
  /** Hears of everything that happens, as it happens. */
  readonly tell?: Tell;
  /** S3's, milliseconds since the epoch; at most 15 minutes beside the real one, or signatures are too old. */
  readonly clockOfS3?: () => number;
  /** Between the tries of an asynchronous invocation; a real one waits for minutes. */
  readonly retryDelayMilliseconds?: number;
}
