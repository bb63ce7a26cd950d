import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import type { OperationsAssets } from '../../lib/infra/operations/built-assets.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const BUILD = path.join(ROOT, 'scripts/build.mjs');

/**
 * Builds from this checkout what the operations stack delivers: the Lambdas, and the agent for this machine. The other
 * architecture's agent is a file that says so: no host here could start it, and its runtime would have to be fetched.
 */
export async function buildCheckout(folder: string, signal?: AbortSignal): Promise<OperationsAssets> {
  const agents = path.join(folder, 'agent');
  const lambdas = path.join(folder, 'lambda');
  await mkdir(agents, { recursive: true });
  const build = async (...args: string[]): Promise<void> => {
    await promisify(execFile)(process.execPath, [BUILD, ...args], { cwd: ROOT, ...(signal && { signal }) });
  };
  await Promise.all([
    build('--lambda-only', '--out', lambdas),
    build('--arch', process.arch, '--tar', '--out', agents),
  ]);
  const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  const tarball = (architecture: string): string =>
    path.join(agents, `lifeboat-${version}-linux-${architecture}.tar.gz`);
  const other = process.arch === 'x64' ? 'arm64' : 'x64';
  await writeFile(tarball(other), `not built: this machine is no ${other}\n`);
  return { agentX64: tarball('x64'), agentArm64: tarball('arm64'), lambdas, version };
}
