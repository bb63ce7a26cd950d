import { existsSync, rmSync } from 'node:fs';
import path from 'node:path';
import { userInfo } from 'node:os';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { runKey } from '../../lib/domain/run/run-keys.ts';
import { IS_ROOT, newRunId, OS_USER, RunHost, useRunGround } from './run-fixture.ts';

const ground = useRunGround();

const make = (): Promise<RunHost> => RunHost.make(ground());

describe('A run id', () => {
  it('is done once: the second time is refused, and the first result stands as it was', async () => {
    const host = await make();
    const request = host.request();
    expect((await host.run(request)).status).toBe(0);
    const [first, files] = [JSON.stringify(await host.result(request.runId)), host.files()];
    const end = await host.run(request);
    expect(end).toMatchObject({
      status: 3,
      verdict: { runId: request.runId, succeeded: false, code: 'RUN_REPEATED' },
    });
    expect(end.verdict!.message).toContain('this host has taken it on before');
    expect(JSON.stringify(await host.result(request.runId))).toBe(first);
    expect(host.files()).toEqual(files);
  });

  it('is refused by its result in the state bucket on a host that has lost its memory', async () => {
    const host = await make();
    const request = host.request();
    expect((await host.run(request)).status).toBe(0);
    rmSync(host.stateDir, { recursive: true });
    const end = await host.run(request);
    expect(end).toMatchObject({ status: 3, verdict: { code: 'RUN_REPEATED' } });
    expect(end.verdict!.message).toContain('its result lies in the state bucket');
  });

  it('is refused by the host’s memory while S3 is away', async () => {
    const host = await make();
    const request = host.request();
    expect((await host.run(request)).status).toBe(0);
    const end = await host.run(request, { env: { AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9' } });
    expect(end).toMatchObject({ status: 3, verdict: { code: 'RUN_REPEATED' } });
  });

  it.each([
    ['of somebody who does not know the request’s nonce', { nonce: '0'.repeat(32) }],
    ['of another run', { runId: '20260117T020000Z-3f9a0c1b2d4e' }],
    ['that is none', undefined],
    ['that is too long for one', { warnings: ['x'.repeat(200_000)] }],
  ])('is done although a result lies there already %s', async (_, change) => {
    const host = await make();
    const done = host.request({ operation: 'list' });
    await host.run(done);
    const request = host.request({ operation: 'list' });
    const result = {
      ...(await host.result(done.runId)),
      runId: request.runId,
      nonce: request.nonce,
      ...change,
    };
    const key = runKey('database', request.runId, 'result');
    const forged = change ? JSON.stringify(result) : 'nothing';
    await ground().client.send(new PutObjectCommand({ Bucket: host.stateBucket, Key: key, Body: forged }));
    const end = await host.run(request);
    expect(end).toMatchObject({ status: 0, verdict: { runId: request.runId, succeeded: true } });
    expect(end.printed).toContain('In the place of this run’s result lies one that another wrote');
    expect(await host.object(key)).toBe(forged);
  });

  it('asked for by many at once is done by one', async () => {
    const host = await make();
    const request = host.request({ operation: 'list' });
    const ends = await Promise.all(Array.from({ length: 5 }, () => host.run(request)));
    expect(ends.map(({ verdict }) => verdict!.code ?? 'done').toSorted()).toEqual([
      ...Array.from({ length: 4 }, () => 'RUN_REPEATED'),
      'done',
    ]);
    expect(await host.result(request.runId)).toMatchObject({ exitStatus: 0 });
  });
});

describe('A request that is not for this host to do', () => {
  it.each([
    ['backup', 'restore', 'This document may ask for a backup, not for restore'],
    ['restore', 'backup', 'This document may ask for a restore, not for backup'],
  ] as const)(
    '%s document, %s request: is refused, and writes no result',
    async (only, operation, message) => {
      const host = await make();
      const request = host.request({ operation, ...(operation === 'restore' ? { restore: {} } : {}) });
      const end = await host.run(request, { args: ['--only', only] });
      expect(end).toMatchObject({
        status: 3,
        verdict: { runId: request.runId, code: 'RUN_REFUSED', message },
      });
      expect(await host.keys()).toEqual([]);
      // The id is still free for the right document.
      expect((await host.run({ ...request, operation: 'list', restore: undefined })).status).toBe(0);
    },
  );

  it('for another instance: is refused, and writes no result', async () => {
    const host = await make();
    const end = await host.run(host.request({ instanceId: 'i-0fedcba9876543210' }));
    expect(end).toMatchObject({ status: 3, verdict: { code: 'RUN_REFUSED' } });
    expect(end.verdict!.message).toContain('i-0fedcba9876543210');
    expect(await host.keys()).toEqual([]);
  });

  it('for a user that is not there: fails with a result that names the user', async () => {
    const host = await make();
    const request = host.request({ series: { osUser: 'nobody-of-this-name' } });
    const end = await host.run(request);
    expect(end).toMatchObject({ status: 3, verdict: { code: 'RUN_REFUSED' } });
    expect(end.verdict!.message).toContain('"nobody-of-this-name"');
    expect(await host.result(request.runId)).toMatchObject({ failure: { code: 'RUN_REFUSED' } });
  });

  it('for another user’s series: is done by that user and by root alone', async () => {
    const host = await make();
    const own = IS_ROOT ? OS_USER : userInfo().username;
    const request = host.request({ series: { osUser: 'daemon' } });
    if (IS_ROOT) {
      const through = ['setpriv', `--reuid=${own}`, `--regid=${own}`, '--init-groups'];
      // A state folder that the user may write to.
      const env = { STATE_DIRECTORY: path.join(path.dirname(host.backupDir), 'state') };
      const end = await host.run(request, { through, env, cwd: '/' });
      expect(end.verdict!.message).toContain(`The series is "daemon"’s (osUser), and this is "${own}"`);
      expect((await host.run(host.request(), { through, env, cwd: '/' })).status).toBe(0);
    } else {
      const end = await host.run(request);
      expect(end.verdict!.message).toContain(`The series is "daemon"’s (osUser), and this is "${own}"`);
    }
  });
});

describe('Hostile values', () => {
  const mark = (): string => path.join(ground().folder, 'm');
  const fields = [
    'series.app',
    'series.database',
    'series.dbHost',
    'series.user',
    'storage.statePrefix',
    'backupId',
    'restore.source',
    'restore.database',
  ];

  it.each(fields)('in %s never reach a shell, and are refused in words', async (field) => {
    const host = await make();
    const command = `touch ${mark()}`;
    const values = [`\`${command}\`$(${command})`, `';${command};'";${command};"\n${command}\n`, '../../etc'];
    const operation = field.startsWith('restore.') ? 'restore' : field === 'backupId' ? 'verify' : 'backup';
    const request = host.request({ operation, ...(operation === 'restore' ? { restore: {} } : {}) });
    for (const value of values) {
      const { status, verdict, printed } = await host.run(withField(request, field, value));
      expect({ value, printed }).toMatchObject({ value, printed: expect.stringContaining('❌') });
      expect([2, 3, 4]).toContain(status);
      expect(verdict).toMatchObject({ succeeded: false });
    }
    expect(existsSync(mark())).toBe(false);
  });
});

function withField(request: object, field: string, value: string): string {
  const copy = structuredClone({ ...request, runId: newRunId() }) as Record<string, unknown>;
  const names = field.split('.');
  const last = names.pop()!;
  const holder = names.reduce((at, name) => at[name] as Record<string, unknown>, copy);
  holder[last] = value;
  return Buffer.from(JSON.stringify(copy)).toString('base64url');
}
