import { Duration } from 'aws-cdk-lib/core';
import { StorageClass, type LifecycleRule } from 'aws-cdk-lib/aws-s3';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { UNFINISHED_UPLOAD_DAYS } from '../../domain/deployment/storage-config.ts';
import { OBJECT_TAG } from '../../domain/names.ts';

const ABORT_UPLOADS_AFTER = Duration.days(UNFINISHED_UPLOAD_DAYS);

/**
 * Of the backup bucket. Nothing expires by age alone: only what the watcher tagged, which it does when a newer verified
 * backup stands. The numbers were checked against S3's rules with the configuration.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
 */
export function backupLifecycle({ storage }: DeploymentConfig): LifecycleRule[] {
  const { expirable } = OBJECT_TAG;
  const prefix = `${storage.prefix}/`;
  return [
    {
      id: 'lifeboat-infrequent-access',
      prefix,
      transitions: [
        {
          storageClass: StorageClass.INFREQUENT_ACCESS,
          transitionAfter: Duration.days(storage.transitionDays),
        },
      ],
    },
    {
      id: 'lifeboat-expirable',
      prefix,
      tagFilters: { [expirable.key]: expirable.value },
      expiration: Duration.days(storage.expirationDays),
    },
    // S3 takes none of these three together with a tag.
    { id: 'lifeboat-clean-up', prefix, ...cleanUpAfter(Duration.days(storage.noncurrentDays)) },
  ];
}

/**
 * How long each kind of state is of use, in days. Nothing here about the journal and the records of holes: the open segment's
 * pieces are all that there is of the last transactions of a host that died, for as long as nobody has recovered them. The
 * watch removes them when their segment is complete in the backup bucket, or when the retention is over.
 */
const STATE_LIFETIMES = {
  runs: 90,
  /** A plan may be executed for an hour. */
  plans: 7,
  /** Proof for an auditor: a year, and time to ask for it. */
  drills: 400,
} as const;

/** Rules of the state bucket; what it holds is of use only for a while. */
export function stateLifecycle({ storage }: DeploymentConfig): LifecycleRule[] {
  const prefix = `${storage.prefix}/`;
  return [
    ...Object.entries(STATE_LIFETIMES).map(([folder, days]) => ({
      id: `lifeboat-${folder}`,
      prefix: `${prefix}${folder}/`,
      expiration: Duration.days(days),
    })),
    { id: 'lifeboat-clean-up', prefix, ...cleanUpAfter(Duration.days(7)) },
  ];
}

export const ACCESS_LOG_LIFECYCLE: LifecycleRule[] = [
  {
    id: 'lifeboat-access-logs',
    expiration: Duration.days(365),
    abortIncompleteMultipartUploadAfter: ABORT_UPLOADS_AFTER,
  },
];

function cleanUpAfter(noncurrent: Duration): Partial<LifecycleRule> {
  return {
    noncurrentVersionExpiration: noncurrent,
    expiredObjectDeleteMarker: true,
    abortIncompleteMultipartUploadAfter: ABORT_UPLOADS_AFTER,
  };
}
