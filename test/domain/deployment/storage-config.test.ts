import { storageSchema } from '../../../lib/domain/deployment/storage-config.ts';

/** What the schema says against it; empty when it is taken. */
function problems(settings: Record<string, unknown>): string[] {
  const { error } = storageSchema.safeParse(settings);
  return (error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);
}

describe('The storage settings', () => {
  it('default to 30 days of governance lock, STANDARD_IA at 30 days and expiry at 31', () => {
    expect(storageSchema.parse({})).toEqual({
      prefix: 'database',
      retentionDays: 30,
      transitionDays: 30,
      expirationDays: 31,
      noncurrentDays: 31,
      objectLock: 'governance',
      lockDays: 30,
    });
  });

  it('refuse a move to STANDARD_IA before day 30, as S3 would at deployment', () => {
    expect(problems({ transitionDays: 29 })).toEqual([
      'transitionDays: S3 moves nothing to STANDARD_IA before day 30',
    ]);
    expect(problems({ transitionDays: 30, expirationDays: 31 })).toEqual([]);
  });

  it('refuse an expiry that does not come after the move', () => {
    expect(problems({ transitionDays: 30, expirationDays: 30, retentionDays: 20, lockDays: 20 })).toEqual([
      'expirationDays: S3 refuses 30: it must be greater than transitionDays (30)',
    ]);
    expect(problems({ transitionDays: 40, expirationDays: 35 })).toEqual([
      'expirationDays: S3 refuses 35: it must be greater than transitionDays (40)',
    ]);
  });

  it('refuse an expiry within the time that backups are promised to stay', () => {
    expect(problems({ retentionDays: 60 })).toEqual([
      'expirationDays: 31 would cut retentionDays (60) short: make it greater',
    ]);
    expect(problems({ retentionDays: 60, expirationDays: 61 })).toEqual([]);
  });

  it('refuse a lock that the lifecycle could never outwait, unless there is none', () => {
    expect(problems({ lockDays: 32 })).toEqual([
      'lockDays: 32 days of lock outlast expirationDays (31): the lifecycle could not remove anything',
    ]);
    expect(problems({ lockDays: 32, objectLock: 'off' })).toEqual([]);
  });

  it.each([
    ['retentionDays', 0],
    ['retentionDays', 3651],
    ['retentionDays', 1.5],
    ['expirationDays', 3652],
    ['transitionDays', 3651],
    ['noncurrentDays', 0],
    ['lockDays', 0],
    ['lockDays', '30'],
  ])('refuse %s: %j', (name, value) => {
    expect(problems({ [name]: value })).toContainEqual(expect.stringContaining(`${name}: `));
  });

  it('refuse a prefix that would be a wildcard in a policy, or lead elsewhere', () => {
    for (const prefix of ['*', 'data*', 'a/../b', '/a', 'a/', 'a//b', '', 'a b', 'a${x}', 'é', "it's"])
      expect(problems({ prefix })).not.toEqual([]);
    for (const prefix of ['database', 'a/b_c/d-e.f', 'x'.repeat(200)])
      expect(problems({ prefix })).toEqual([]);
  });

  it('refuse names that no bucket can have, and dots in a new one', () => {
    for (const bucketName of ['ab', 'Backups', 'a_b', '-ab', 'ab-', 'x'.repeat(64)])
      expect(problems({ bucketName })).not.toEqual([]);
    expect(problems({ bucketName: 'old.bucket' })).toEqual([]);
    expect(problems({ newBucketName: 'new.bucket' })).not.toEqual([]);
    expect(problems({ newBucketName: 'xn--bucket' })).not.toEqual([]);
    expect(problems({ stateBucketName: 'bucket-s3alias' })).not.toEqual([]);
  });

  it('refuse one bucket for two purposes', () => {
    expect(problems({ bucketName: 'backups', newBucketName: 'backups-2' })).toEqual([
      'newBucketName: bucketName names an existing bucket: give one of the two',
    ]);
    expect(problems({ newBucketName: 'backups', stateBucketName: 'backups' })).toEqual([
      'stateBucketName: backups is the backup bucket: the state needs one of its own',
    ]);
    expect(problems({ bucketName: 'backups', stateBucketName: 'backups' })).toHaveLength(1);
  });

  it('refuse a second region for a bucket that is not ours to replicate', () => {
    expect(problems({ bucketName: 'backups', drRegion: 'eu-central-1' })).toEqual([
      'drRegion: an existing bucket’s replication is its owner’s to set up: leave drRegion out',
    ]);
  });

  it('want a key in the second region where the first has one, and only there', () => {
    const kmsKeyArn = 'arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555';
    const drKmsKeyArn = 'arn:aws:kms:eu-central-1:111122223333:key/mrk-1234567890abcdef1234567890abcdef';
    expect(problems({ kmsKeyArn, drRegion: 'eu-central-1' })).toEqual([
      'drKmsKeyArn: S3 cannot encrypt copies in eu-central-1 with a key of another region: name one of eu-central-1',
    ]);
    expect(problems({ kmsKeyArn, drKmsKeyArn })).toHaveLength(1);
    expect(problems({ drRegion: 'eu-central-1', drKmsKeyArn })).toHaveLength(1);
    expect(problems({ kmsKeyArn, drKmsKeyArn, drRegion: 'eu-north-1' })).toEqual([
      'drKmsKeyArn: the key lies in eu-central-1, the copies in drRegion eu-north-1',
    ]);
    expect(problems({ kmsKeyArn, drKmsKeyArn, drRegion: 'eu-central-1' })).toEqual([]);
    expect(problems({ kmsKeyArn: 'alias/mine' })).toEqual(['kmsKeyArn: is no ARN of a KMS key']);
  });

  it('refuse a setting that does not exist, so that no typing error goes unnoticed', () => {
    expect(problems({ retentionDay: 30 })).toEqual([': Unrecognized key: "retentionDay"']);
  });
});
