import { randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import type { LifeboatError } from '../../../lib/domain/errors.ts';
import type { ObjectStore, Upload } from '../../../scripts/agent/ports/store.ts';
import { keysOf, reckon, upload } from '../../contract/object-store.contract.ts';
import { startLocalS3Fixture, type LocalS3Fixture } from '../../contract/local-s3-store.ts';

const MIB = 1024 * 1024;
const KEY = 'hostmaster_db_20260117_020000.sql.gz';
const LARGE = randomBytes(17 * MIB);
const SMALL = Buffer.from('a small one');
const OVERLOADED = { kind: 'error', status: 503, code: 'ServiceUnavailable' } as const;
const SILENT = { kind: 'delay', milliseconds: 3_000 } as const;

describe('The S3 store on a bad day', () => {
  let fixture: LocalS3Fixture;
  let store: ObjectStore;

  beforeEach(async () => {
    fixture = await startLocalS3Fixture();
    store = fixture.open();
  });

  afterEach(async () => {
    await fixture.close();
  });

  const faults = () => fixture.s3.faults;
  const asked = (action: string) => fixture.s3.requests.filter((request) => request.action === action);
  const unfinished = async () => {
    const before = asked('AbortMultipartUpload').length;
    await store.removeUnfinished('');
    return asked('AbortMultipartUpload').length - before;
  };

  /** Stores both kinds of object and reads them back. */
  const roundTrip = async () => {
    await store.putOnce('small.manifest.json', SMALL);
    await upload(store, KEY, LARGE);
    expect((await store.read('small.manifest.json')).equals(SMALL)).toBe(true);
    expect((await store.read(KEY)).equals(LARGE)).toBe(true);
    expect(
      (await store.read(KEY, { offset: 9 * MIB, length: 100 })).equals(
        LARGE.subarray(9 * MIB, 9 * MIB + 100),
      ),
    ).toBe(true);
  };

  describe('that passes', () => {
    it.each([
      'PutObject',
      'CreateMultipartUpload',
      'UploadPart',
      'CompleteMultipartUpload',
      'HeadObject',
      'GetObject',
    ])('rides out 503s of %s', async (action) => {
      faults().add({ action, times: 3, effect: OVERLOADED });
      await roundTrip();
      expect(asked(action).filter(({ status }) => status === 503)).toHaveLength(3);
    });

    it('slows down when S3 asks for it', async () => {
      faults().slowDown({ action: 'PutObject', times: 1 });
      await store.putOnce(KEY, SMALL);
      expect(asked('PutObject').map(({ status }) => status)).toEqual([503, 200]);
    });

    it.each([
      ['PutObject', 5],
      ['UploadPart', 4 * MIB],
      ['CompleteMultipartUpload', 20],
    ])('survives a connection that is cut midway through a request of %s', async (action, afterBytes) => {
      faults().add({ action, effect: { kind: 'cut-request', afterBytes } });
      await roundTrip();
    });

    it('survives connections that are cut midway through an answer', async () => {
      faults().add({ action: 'GetObject', times: 3, effect: { kind: 'cut-response', afterBytes: 5 } });
      await roundTrip();
      expect(faults().list()).toMatchObject([{ hits: 3 }]);
    });

    it.each([
      ['PutObject', 5],
      ['UploadPart', 4 * MIB],
    ])('sends again what arrived with a flipped byte at %s', async (action, offset) => {
      faults().add({ action, times: 2, effect: { kind: 'flip-request', offset } });
      await roundTrip();
      expect(asked(action).filter(({ status }) => status === 400)).toHaveLength(2);
    });

    it('reads again what came with a flipped byte', async () => {
      await upload(store, KEY, LARGE);
      faults().add({ action: 'GetObject', times: 2, effect: { kind: 'flip-response', offset: 10 * MIB } });
      expect((await store.read(KEY)).equals(LARGE)).toBe(true);
      expect(asked('GetObject')).toHaveLength(3);
    });

    it.each(['PutObject', 'CreateMultipartUpload', 'UploadPart', 'CompleteMultipartUpload'])(
      'knows its own object when the answer of %s is lost',
      async (action) => {
        faults().add({ action, effect: { kind: 'lose-answer' } });
        await roundTrip();
        expect(faults().list()).toMatchObject([{ hits: 1 }]);
      },
    );

    it('takes a failure that S3 reports under status 200 for one', async () => {
      const effect = { kind: 'error', status: 200, code: 'InternalError' } as const;
      faults().add({ action: 'CompleteMultipartUpload', times: 2, effect });
      await roundTrip();
    });

    it('does not wait for ever for a server that went silent', async () => {
      const impatient = fixture.open({ clientOverrides: { requestHandler: { socketTimeout: 1000 } } });
      faults().add({ action: 'PutObject', effect: SILENT });
      faults().add({ action: 'GetObject', effect: SILENT });
      await impatient.putOnce(KEY, SMALL);
      expect((await impatient.read(KEY)).equals(SMALL)).toBe(true);
      expect(asked('GetObject')).toHaveLength(2);
    });
  });

  describe('that does not pass', () => {
    const thrownBy = async (work: Promise<unknown>): Promise<LifeboatError> => {
      const [end] = await Promise.allSettled([work]);
      if (end.status === 'rejected') return end.reason as LifeboatError;
      throw new Error('nothing was thrown');
    };

    it.each(['PutObject', 'UploadPart', 'CompleteMultipartUpload'])(
      'gives up on 503s of %s after AWS_MAX_ATTEMPTS tries',
      async (action) => {
        store = fixture.open({ environment: { AWS_MAX_ATTEMPTS: '3' } });
        faults().add({ action, times: 'always', effect: OVERLOADED });
        const error = await thrownBy(
          action === 'PutObject' ? store.putOnce(KEY, SMALL) : upload(store, KEY, LARGE.subarray(0, 9 * MIB)),
        );
        expect(error).toMatchObject({ code: 'S3_UNAVAILABLE' });
        expect(error.message).toContain('3 tries');
        expect(error.message).toContain(KEY);
        faults().clear();
        expect(await store.head(KEY)).toBeUndefined();
        expect(await unfinished()).toBe(0);
        const parts = action === 'UploadPart' ? 2 : 1;
        expect(asked(action).filter(({ status }) => status === 503).length).toBeLessThanOrEqual(3 * parts);
      },
    );

    it('gives up on a server that is not there', async () => {
      await fixture.s3.close();
      store = fixture.open({ environment: { AWS_MAX_ATTEMPTS: '2' } });
      const error = await thrownBy(store.putOnce(KEY, SMALL));
      expect(error).toMatchObject({ code: 'S3_UNAVAILABLE' });
      expect(error.message).toContain('ECONNREFUSED');
    });

    it('gives up on answers that are always cut', async () => {
      store = fixture.open({ environment: { AWS_MAX_ATTEMPTS: '3' } });
      await store.putOnce(KEY, SMALL);
      faults().add({ action: 'GetObject', times: 'always', effect: { kind: 'cut-response', afterBytes: 5 } });
      expect(await thrownBy(store.read(KEY))).toMatchObject({ code: 'S3_UNAVAILABLE' });
      expect(asked('GetObject')).toHaveLength(3);
    });

    it('calls it corruption when S3’s bytes never fit its checksum', async () => {
      store = fixture.open({ environment: { AWS_MAX_ATTEMPTS: '3' } });
      await store.putOnce(KEY, SMALL);
      faults().add({ action: 'GetObject', times: 'always', effect: { kind: 'flip-response', offset: 5 } });
      const error = await thrownBy(store.read(KEY));
      expect(error).toMatchObject({ code: 'CORRUPT' });
      expect(error.message).toContain(KEY);
    });

    it('calls it a fault of the way when the bytes sent never arrive whole', async () => {
      store = fixture.open({ environment: { AWS_MAX_ATTEMPTS: '3' } });
      faults().add({ action: 'PutObject', times: 'always', effect: { kind: 'flip-request', offset: 5 } });
      expect(await thrownBy(store.putOnce(KEY, SMALL))).toMatchObject({ code: 'S3_FAILED' });
      expect(await store.head(KEY)).toBeUndefined();
    });

    it.each([
      ['a wrong secret key', { AWS_SECRET_ACCESS_KEY: 'wrong-secret' }],
      ['an unknown access key', { AWS_ACCESS_KEY_ID: 'AKIDUNKNOWN000000000' }],
    ])('names what was denied with %s, and no secret', async (_case, environment) => {
      store = fixture.open({ environment });
      for (const work of [() => store.putOnce(KEY, SMALL), () => store.check({ writable: true })]) {
        const error = await thrownBy(work());
        expect(error).toMatchObject({ code: 'S3_DENIED' });
        expect(error.message).toMatch(/s3:(?:PutObject|ListBucket) on s3:\/\/backups\/database\//);
        expect(error.hint).toContain('AWS_SECRET_ACCESS_KEY');
        const everything = inspect(error, { depth: 9, showHidden: true });
        expect(everything).not.toContain('wrong-secret');
        expect(everything).not.toContain('Signature=');
      }
    });

    it('says that there is no such bucket', async () => {
      store = fixture.open({ settings: { bucket: 'absent-bucket' } });
      const works = [
        () => store.check({ writable: false }),
        () => store.putOnce(KEY, SMALL),
        () => keysOf(store, ''),
        () => upload(store, KEY, LARGE),
        () => store.read(KEY),
      ];
      for (const work of works) {
        const error = await thrownBy(work());
        expect(error).toMatchObject({ code: 'S3_NO_BUCKET' });
        expect(error.message).toContain('absent-bucket');
      }
    });

    it('reports the first failure of a part, and tidies up', async () => {
      faults().deny({ action: 'UploadPart' });
      const error = await thrownBy(upload(store, KEY, LARGE));
      expect(error).toMatchObject({ code: 'S3_DENIED' });
      expect(error.message).toContain('s3:PutObject');
      expect(await unfinished()).toBe(0);
    });
  });

  it('asks no more of an object whose checksum S3 answered with', async () => {
    await store.putOnce(KEY, SMALL);
    expect(asked('HeadObject')).toHaveLength(0);
  });

  describe('with an object under the name already', () => {
    /** An upload of ours, and another's object that appears while it runs. */
    const contested = async (): Promise<Upload> => {
      const started = await store.startUpload(KEY);
      await started.write(LARGE);
      await fixture.open().putOnce(KEY, Buffer.from('another’s'));
      return started;
    };

    const expectRefused = async (started: Upload) => {
      await expect(started.complete(reckon(LARGE))).rejects.toMatchObject({ code: 'OBJECT_EXISTS' });
      await started.abort();
      expect((await store.read(KEY)).toString()).toBe('another’s');
      expect(await unfinished()).toBe(0);
    };

    it('refuses to replace another’s by completing an upload', async () => {
      await expectRefused(await contested());
    });

    it('is refused by S3 itself when it could not see another’s beforehand', async () => {
      const started = await contested();
      const effect = { kind: 'error', status: 404, code: 'NoSuchKey' } as const;
      faults().add({ action: 'HeadObject', effect });
      await expectRefused(started);
      expect(asked('CompleteMultipartUpload').map(({ status }) => status)).toEqual([412]);
    });

    it('tells another’s from its own when the answer to the first try was lost too', async () => {
      await store.putOnce(KEY, Buffer.from('another’s'));
      faults().add({ action: 'PutObject', effect: { kind: 'lose-answer' } });
      await expect(store.putOnce(KEY, SMALL)).rejects.toMatchObject({ code: 'OBJECT_EXISTS' });
      expect((await store.read(KEY)).toString()).toBe('another’s');
    });

    it('fails, naming the upload, when somebody gave the upload up meanwhile', async () => {
      const started = await store.startUpload(KEY);
      await started.write(LARGE);
      await store.removeUnfinished('hostmaster_db_');
      const failed = started.complete(reckon(LARGE));
      await expect(failed).rejects.toThrow(/NoSuchUpload/);
      await expect(failed).rejects.toThrow(KEY);
      await started.abort();
      expect(await store.head(KEY)).toBeUndefined();
    });
  });

  describe('with few rights', () => {
    it('passes the check without the right to give an upload up, as in the user’s own policy', async () => {
      faults().deny({ action: ['AbortMultipartUpload', 'ListMultipartUploads', 'DeleteObject'] });
      await store.check({ writable: true });
      await store.removeUnfinished('hostmaster_db_');
      await roundTrip();
    });

    it.each(['ListObjectsV2', 'CreateMultipartUpload'])(
      'fails the check when %s is denied',
      async (action) => {
        faults().deny({ action });
        const refused = store.check({ writable: true });
        await expect(refused).rejects.toMatchObject({ code: 'S3_DENIED' });
        await expect(refused).rejects.toThrow(/s3:(?:ListBucket|PutObject) on s3:\/\/backups\/database/);
      },
    );

    it('gives an upload up quietly, whatever S3 says', async () => {
      const started = await store.startUpload(KEY);
      await started.write(LARGE);
      faults().deny({ action: 'AbortMultipartUpload' });
      await started.abort();
      await expect(started.write(SMALL)).rejects.toMatchObject({ code: 'S3_FAILED' });
    });
  });

  describe('the probe of the right to write', () => {
    const FEW_RIGHTS = { action: ['AbortMultipartUpload'] };

    it('is cleared away by a later run when its own run was killed in between', async () => {
      faults().deny(FEW_RIGHTS);
      await store.check({ writable: true });
      faults().clear();
      const before = asked('AbortMultipartUpload').length;
      await store.removeUnfinished('hostmaster_db_', (key) => key.startsWith('hostmaster_db_'));
      const aborted = asked('AbortMultipartUpload').slice(before);
      expect(aborted.map(({ key, status }) => [key, status])).toEqual([
        ['database/.lifeboat-write-probe', 204],
      ]);
    });

    it('proves the right also when another run clears it away first', async () => {
      faults().add({
        action: 'AbortMultipartUpload',
        times: 1,
        effect: { kind: 'error', status: 404, code: 'NoSuchUpload' },
      });
      await expect(store.check({ writable: true })).resolves.toBeUndefined();
    });
  });

  it('leaves no unfinished upload when it is given up while S3 is making one', async () => {
    faults().add({ action: 'CreateMultipartUpload', effect: { kind: 'delay', milliseconds: 100 } });
    const started = await store.startUpload(KEY);
    const writing = started.write(LARGE);
    await started.abort();
    await expect(writing).rejects.toMatchObject({ code: 'S3_FAILED' });
    expect(asked('AbortMultipartUpload').map(({ status }) => status)).toEqual([204]);
    expect(await unfinished()).toBe(0);
  });

  it('lists page by page', async () => {
    const keys = Array.from(
      { length: 1_050 },
      (_unused, index) => `page_db_${String(index).padStart(4, '0')}`,
    );
    for (let from = 0; from < keys.length; from += 50) {
      await Promise.all(keys.slice(from, from + 50).map((key) => store.putOnce(key, Buffer.alloc(0))));
    }
    expect(await keysOf(store, 'page_db_')).toEqual(keys);
    expect(asked('ListObjectsV2')).toHaveLength(2);
  });

  it('sends at most three parts at once', async () => {
    let most = 0;
    faults().add({ action: 'UploadPart', times: 'always', effect: { kind: 'delay', milliseconds: 20 } });
    const count = () => {
      most = Math.max(most, asked('UploadPart').filter(({ status }) => status === 0).length);
    };
    const started = await store.startUpload(KEY);
    const watch = setInterval(count, 2);
    const body = randomBytes(8 * MIB);
    for (let part = 0; part < 8; part++) await started.write(body);
    clearInterval(watch);
    await started.abort();
    expect(most).toBe(3);
  });
});

describe('The S3 store on a versioned bucket', () => {
  it('hides what is removed, and may write under the name again', async () => {
    const fixture = await startLocalS3Fixture({ versioned: true });
    try {
      const store = fixture.open();
      await store.putOnce(KEY, SMALL);
      await store.remove(KEY);
      expect(await store.head(KEY)).toBeUndefined();
      expect(await keysOf(store, '')).toEqual([]);
      await upload(store, KEY, LARGE);
      expect((await store.read(KEY)).equals(LARGE)).toBe(true);
    } finally {
      await fixture.close();
    }
  });
});
