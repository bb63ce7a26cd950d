import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

const ROOT = resolve(__dirname, '..', '..');
const NAMES = ['start-run', 'restore', 'report-run', 'watch', 'slack'];

describe('the bundled Lambdas', () => {
  const folder = mkdtempSync(join(tmpdir(), 'lifeboat-bundles-'));
  const out = join(folder, 'lambda');

  beforeAll(() => {
    const build = join(ROOT, 'scripts', 'build.mjs');
    execFileSync(process.execPath, [build, '--lambda-only', '--out', out], { stdio: 'pipe' });
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('are one for each handler, and nothing else', () => {
    expect(readdirSync(out).toSorted()).toEqual(NAMES.toSorted());
    expect(readdirSync(folder)).toEqual(['lambda']);
  });

  it.each(NAMES)('%s weighs a megabyte at most, and has all that it needs', async (name) => {
    expect(readdirSync(join(out, name))).toEqual(['index.mjs']);
    expect(statSync(join(out, name, 'index.mjs')).size).toBeLessThanOrEqual(1_000_000);
    const alone = mkdtempSync(join(folder, `${name}-`));
    copyFileSync(join(out, name, 'index.mjs'), join(alone, 'index.mjs'));
    const series = [{ database: 'x', host: { instanceId: 'i-0123456789abcdef0' } }];
    const call = `import('./index.mjs').then(({ handler }) => handler({}, { awsRequestId: 'r', getRemainingTimeInMillis: () => 1e4 }))
      .catch((error) => console.log(error.name + ': ' + error.message.split('\\n')[0]));`;
    const say = async (env: NodeJS.ProcessEnv): Promise<string> => {
      const run = promisify(execFile);
      return (await run(process.execPath, ['-e', call], { cwd: alone, env })).stdout;
    };
    // Without its surroundings it says what is missing, to whoever invoked it.
    expect(await say({})).toMatch(/^LifeboatError: .*deployment\.json cannot be read/);
    writeFileSync(join(alone, 'deployment.json'), JSON.stringify({ series }));
    expect(await say({})).toMatch(/^LifeboatError: The function’s variable LIFEBOAT_\w+ is not set/);
    rmSync(alone, { recursive: true });
  });
});
