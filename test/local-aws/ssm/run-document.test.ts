import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseDocument } from '../../../scripts/local-aws/ssm/document.ts';
import { runDocument } from '../../../scripts/local-aws/ssm/run-document.ts';
import type { StepContext } from '../../../scripts/local-aws/ssm/step.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-ssm-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const contextOf = (stepName: string): StepContext => ({
  stepName,
  orchestrationFolder: folder,
  downloadsFolder: path.join(folder, 'downloads'),
  environment: { PATH: '/usr/bin:/bin' },
  cancelled: new AbortController().signal,
  objects: {
    isFolder: () => Promise.resolve(false),
    download: async (bucket, key, file) => {
      if (key.includes('missing')) throw new Error('http request failed. status:403');
      writeFileSync(file, `${bucket}/${key}`);
    },
  },
});

const script = (name: string, line: string, inputs: Record<string, unknown> = {}) => ({
  name,
  action: 'aws:runShellScript',
  inputs: { runCommand: [line], ...inputs },
});

const download = (name: string, url: string, inputs: Record<string, unknown> = {}) => ({
  name,
  action: 'aws:downloadContent',
  inputs: { sourceType: 'S3', sourceInfo: JSON.stringify({ path: url }), ...inputs },
});

async function run(...mainSteps: unknown[]) {
  const document = parseDocument({ schemaVersion: '2.2', mainSteps });
  const { status, steps } = await runDocument(document, {}, contextOf);
  return { status, steps: Object.fromEntries(steps.map((step) => [step.name, step.status])) };
}

describe('runDocument', () => {
  it('goes on after a failed step, and the document has failed', async () => {
    expect(await run(script('a', 'exit 3'), script('b', 'true'))).toEqual({
      status: 'Failed',
      steps: { a: 'Failed', b: 'Success' },
    });
  });

  it('stops after a failure where onFailure stands inside of the inputs', async () => {
    expect(await run(script('a', 'exit 3', { onFailure: 'exit' }), script('b', 'true'))).toEqual({
      status: 'Failed',
      steps: { a: 'Failed', b: 'Skipped' },
    });
  });

  it('takes no notice of onFailure beside the inputs', async () => {
    const { steps } = await run({ ...script('a', 'exit 3'), onFailure: 'exit' }, script('b', 'true'));
    expect(steps).toEqual({ a: 'Failed', b: 'Success' });
  });

  it('goes on after a step that timed out, or looks as if, even with onFailure: exit', async () => {
    expect(await run(script('a', 'exit 137', { onFailure: 'exit' }), script('b', 'true'))).toEqual({
      status: 'TimedOut',
      steps: { a: 'TimedOut', b: 'Success' },
    });
  });

  it('still runs the step that is for the end', async () => {
    const { steps } = await run(
      script('a', 'exit 3', { onFailure: 'exit' }),
      script('b', 'true'),
      script('c', 'true', { finallyStep: true }),
    );
    expect(steps).toEqual({ a: 'Failed', b: 'Skipped', c: 'Success' });
  });

  it('goes from a step that says “skip the rest” to the one that is for the end, and succeeds', async () => {
    const rest = [script('b', 'exit 3'), script('c', 'true', { finallyStep: true })];
    expect(await run(script('a', 'exit 168'), ...rest)).toEqual({
      status: 'Success',
      steps: { a: 'Success', b: 'Skipped', c: 'Success' },
    });
    // Only as the last step does it count.
    const { steps } = await run(script('a', 'exit 168'), ...rest, script('d', 'true'));
    expect(steps).toEqual({ a: 'Success', b: 'Skipped', c: 'Skipped', d: 'Skipped' });
  });

  it('skips a step for another platform, and that is no failure', async () => {
    const windows = { ...script('a', 'exit 3'), precondition: { StringEquals: ['platformType', 'Windows'] } };
    const linux = { ...script('b', 'true'), precondition: { StringEquals: ['platformType', 'Linux'] } };
    expect(await run(windows, linux)).toEqual({ status: 'Success', steps: { a: 'Skipped', b: 'Success' } });
  });

  it('downloads an object beside the scripts, for its owner alone, under the name that destinationPath gives', async () => {
    const url = 'https://assets.s3.eu-west-1.amazonaws.com/abc.tar.gz';
    await run(download('get', url, { destinationPath: 'agent-x64.tar.gz' }));
    const file = path.join(folder, 'downloads', 'agent-x64.tar.gz');
    expect(readFileSync(file, 'utf8')).toBe('assets/abc.tar.gz');
    expect(statSync(file).mode & 0o777).toBe(0o700);
  });

  it('fails a download that S3 denies, or from what is no https URL of S3', async () => {
    const denied = download('get', 'https://s3.eu-west-1.amazonaws.com/assets/missing.tar.gz', {
      onFailure: 'exit',
    });
    expect(await run(denied, script('b', 'true'))).toEqual({
      status: 'Failed',
      steps: { get: 'Failed', b: 'Skipped' },
    });
    expect((await run(download('get', 's3://assets/abc'))).status).toBe('Failed');
  });
});
