import { randomBytes } from 'node:crypto';
import type { ObjectStore } from '../../../scripts/agent/ports/store.ts';
import type { AuthorizeS3 } from '../../../scripts/local-aws/s3/request-handler.ts';
import { s3Error } from '../../../scripts/local-aws/s3/s3-error.ts';
import { upload } from '../../contract/object-store.contract.ts';
import { startLocalS3Fixture, type LocalS3Fixture } from '../../contract/local-s3-store.ts';

const KEY = 'hostmaster_db_20260117_020000.sql.gz';
const LARGE = randomBytes(17 * 1024 * 1024);
const SMALL = Buffer.from('a small one');

/** As the stack's policy for hosts: what is listed begins with the prefix, and S3 admits to nobody that something is missing. */
const underPrefixOnly: AuthorizeS3 = ({ operation, request: { query, key } }) => {
  if (operation === 'ListObjectsV2' && !query.get('prefix')?.startsWith('database/'))
    throw s3Error('AccessDenied', 'Access Denied');
  if (operation === 'HeadObject' && key?.endsWith('.secret')) throw s3Error('AccessDenied', 'Access Denied');
  return { mayKnowOfAbsence: false };
};

describe('The S3 store with the rights of a host of the stack', () => {
  let fixture: LocalS3Fixture;
  let store: ObjectStore;

  beforeEach(async () => {
    fixture = await startLocalS3Fixture({}, { authorize: underPrefixOnly });
    store = fixture.open();
  });

  afterEach(async () => {
    await fixture.close();
  });

  it('finds out what is not there, though S3 calls it denied', async () => {
    expect(await store.head('nothing.manifest.json')).toBeUndefined();
    await store.putOnce('nothing.manifest.json.older', SMALL);
    expect(await store.head('nothing.manifest.json')).toBeUndefined();
  });

  it('writes small and large files once', async () => {
    await store.putOnce('small.manifest.json', SMALL);
    await upload(store, KEY, LARGE);
    expect((await store.read('small.manifest.json')).equals(SMALL)).toBe(true);
    await upload(store, KEY, LARGE);
    await expect(store.putOnce(KEY, SMALL)).rejects.toMatchObject({ code: 'OBJECT_EXISTS' });
  });

  it('does not take what it may not read for missing', async () => {
    // Nothing needs to be read of what S3 took, but of what was there before.
    await store.putOnce('a.secret', SMALL);
    await expect(store.putOnce('a.secret', SMALL)).rejects.toMatchObject({ code: 'S3_DENIED' });
    await expect(store.head('a.secret')).rejects.toMatchObject({ code: 'S3_DENIED' });
  });
});
