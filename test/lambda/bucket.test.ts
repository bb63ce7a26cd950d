import { startStage, type Stage } from './stage.ts';

let stage: Stage;
beforeEach(async () => {
  stage = await startStage();
});
afterEach(async () => stage.close());

const DENIED = { kind: 'error', status: 403, code: 'AccessDenied' } as const;

describe('a bucket', () => {
  it('takes one writer for a key, however many come at once', async () => {
    const wrote = await Promise.all(
      [1, 2, 3, 4, 5].map((who) => stage.state.putOnce('runs/x.json', { who })),
    );
    expect(wrote.filter(Boolean)).toHaveLength(1);
    expect(JSON.parse((await stage.state.read('runs/x.json'))!)).toEqual({ who: wrote.indexOf(true) + 1 });
  });

  it('knows its own words again when the answer to the write was lost', async () => {
    stage.s3.faults.add({ action: 'PutObject', effect: { kind: 'lose-answer' } });
    expect(await stage.state.putOnce('runs/x.json', { who: 1 })).toBe(true);
    stage.s3.faults.add({ action: 'PutObject', effect: { kind: 'lose-answer' } });
    expect(await stage.state.putOnce('runs/x.json', { who: 2 })).toBe(false);
  });

  it('waits while somebody else is writing the same key', async () => {
    stage.s3.faults.add({
      action: 'PutObject',
      times: 2,
      effect: { kind: 'error', status: 409, code: 'ConditionalRequestConflict' },
    });
    expect(await stage.state.putOnce('runs/x.json', {})).toBe(true);
  });

  it('takes what is denied for missing only where the listing does not have it', async () => {
    stage.s3.faults.add({ action: 'GetObject', times: 'always', effect: DENIED });
    expect(await stage.state.read('runs/x.json')).toBeUndefined();
    await stage.state.putOnce('runs/x.json', {});
    await expect(stage.state.read('runs/x.json')).rejects.toMatchObject({
      code: 'S3_DENIED',
      message: expect.stringContaining('s3:GetObject on s3://state/runs/x.json failed'),
      hint: expect.stringContaining('Let the function’s role do s3:GetObject'),
    });
  });

  it('lists all pages, and keys that XML cannot carry', async () => {
    const keys = ['a b+c&d.json', 'e\u0001f.json', 'ü%20.json'].map((name) => `runs/${name}`);
    for (const key of keys) await stage.state.putOnce(key, {});
    const listed: string[] = [];
    for await (const { key } of stage.state.list('runs/')) listed.push(key);
    expect(listed.toSorted()).toEqual(keys.toSorted());
  });

  it('says which call failed on what, and nothing of the request’s secrets', async () => {
    stage.s3.faults.add({ action: 'ListObjectsV2', times: 'always', effect: DENIED });
    const error = await stage.watch().then(
      () => undefined,
      (thrown: Error) => thrown,
    );
    expect(error!.message).toMatch(/s3:ListBucket on s3:\/\/state\/database\/runs\/\d{4}/);
    expect(JSON.stringify(error) + error!.stack).not.toContain(stage.s3.credentials.secretAccessKey);
  });
});
