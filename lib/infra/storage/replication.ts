import { Stack, Validations } from 'aws-cdk-lib/core';
import { PolicyStatement, Role, ServicePrincipal } from 'aws-cdk-lib/aws-iam';
import { Key } from 'aws-cdk-lib/aws-kms';
import { Bucket, ReplicationTimeValue, type BucketProps, type IBucket } from 'aws-cdk-lib/aws-s3';
import type { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { replicaBucketName } from './replica-stack.ts';

const READ_ACTIONS = [
  's3:GetObjectLegalHold',
  's3:GetObjectRetention',
  's3:GetObjectVersionAcl',
  's3:GetObjectVersionForReplication',
  's3:GetObjectVersionTagging',
];

/** The rule's name, which S3's replication metrics carry. */
export const REPLICATION_RULE = 'lifeboat-replica';

/**
 * Copies every new backup to the second region. Deletions are not copied: a delete marker in one region hides nothing in
 * the other. Tags are, so that the other bucket's lifecycle expires the same backups.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication.html
 */
export class Replication {
  readonly #scope: Construct;
  readonly #config: DeploymentConfig;
  readonly #role: Role;
  readonly #destination: IBucket;

  constructor(scope: Construct, config: DeploymentConfig) {
    this.#scope = scope;
    this.#config = config;
    this.#role = new Role(scope, 'ReplicationRole', {
      assumedBy: new ServicePrincipal('s3.amazonaws.com'),
      description: 'Copies backups to the second region',
    });
    this.#destination = Bucket.fromBucketName(scope, 'Replica', replicaBucketName(scope, config));
  }

  bucketProps(): BucketProps {
    const { drKmsKeyArn, prefix } = this.#config.storage;
    return {
      replicationRole: this.#role,
      replicationRules: [
        {
          id: REPLICATION_RULE,
          destination: this.#destination,
          // S3 wants a rule with a filter to say these two as well.
          filter: { prefix: `${prefix}/` },
          priority: 1,
          deleteMarkerReplication: false,
          metrics: ReplicationTimeValue.FIFTEEN_MINUTES,
          ...(drKmsKeyArn === undefined
            ? {}
            : {
                sseKmsEncryptedObjects: true,
                kmsKey: Key.fromKeyArn(this.#scope, 'ReplicaKey', drKmsKeyArn),
              }),
        },
      ],
    };
  }

  /** Exactly what S3's guide lists, on these two buckets; no right to copy a deletion. */
  grant(source: IBucket): void {
    const own = `${this.#config.storage.prefix}/*`;
    const from = source.arnForObjects(own);
    const to = this.#destination.arnForObjects(own);
    const statements = [
      allow(['s3:GetReplicationConfiguration', 's3:ListBucket'], source.bucketArn),
      allow(READ_ACTIONS, from),
      allow(['s3:ReplicateObject', 's3:ReplicateTags'], to),
      ...this.#keyStatements(),
    ];
    for (const statement of statements) this.#role.addToPolicy(statement);
    Validations.of(this.#role).acknowledge({
      id: 'AwsSolutions-IAM5',
      reason: 'Backups under the prefix, whose names are not known beforehand; no action has a wildcard.',
    });
  }

  #keyStatements(): PolicyStatement[] {
    const { kmsKeyArn, drKmsKeyArn, drRegion } = this.#config.storage;
    if (kmsKeyArn === undefined || drKmsKeyArn === undefined) return [];
    const { region, urlSuffix } = Stack.of(this.#scope);
    return [
      allow(['kms:Decrypt'], kmsKeyArn, `s3.${region}.${urlSuffix}`),
      allow(['kms:Encrypt', 'kms:GenerateDataKey'], drKmsKeyArn, `s3.${drRegion}.${urlSuffix}`),
    ];
  }
}

function allow(actions: string[], resource: string, viaService?: string): PolicyStatement {
  return new PolicyStatement({
    actions,
    resources: [resource],
    ...(viaService === undefined ? {} : { conditions: { StringEquals: { 'kms:ViaService': viaService } } }),
  });
}
