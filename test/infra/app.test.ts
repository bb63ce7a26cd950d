import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The app as `cdk` runs it: in a process of its own, with the context in the environment. */
async function runApp(context: object, more: Record<string, string> = {}) {
  const tsx = createRequire(join(process.cwd(), 'package.json')).resolve('tsx/cli');
  return await new Promise<{ status: number | string; stderr: string }>((resolve) => {
    execFile(
      process.execPath,
      [tsx, 'bin/lifeboat.ts'],
      { env: { ...process.env, CDK_CONTEXT_JSON: JSON.stringify(context), ...more } },
      (error, _stdout, stderr) => resolve({ status: error?.code ?? 0, stderr }),
    );
  });
}

describe('The CDK app', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'lifeboat-app-'));
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  it('says in words what is wrong with the configuration, and no stack trace', async () => {
    const config = join(folder, 'lifeboat.config.json');
    const missing = await runApp({ config }, { CDK_OUTDIR: join(folder, 'out') });
    expect(missing.status).toBe(2);
    expect(missing.stderr).toBe(
      `There is no ${config}, which says what to deploy\n` +
        `Run: cp lifeboat.config.example.json ${config}, then put your instance and database in it.\n`,
    );
    writeFileSync(config, '{"series":[]}');
    const wrong = await runApp({ config }, { CDK_OUTDIR: join(folder, 'out') });
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toContain('- series: ');
    expect(wrong.stderr).not.toMatch(/^\s+at /m);
    expect(existsSync(join(folder, 'out', 'manifest.json'))).toBe(false);
  });
});
