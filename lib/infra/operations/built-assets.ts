import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { LifeboatError } from '../../domain/errors.ts';
import type { FunctionName } from '../storage/principals.ts';

/** What `npm run build` makes and the operations stack delivers. */
export interface OperationsAssets {
  /** lifeboat-<version>-linux-x64.tar.gz */
  readonly agentX64: string;
  /** lifeboat-<version>-linux-arm64.tar.gz */
  readonly agentArm64: string;
  /** The folder that holds one folder for each handler, with its index.mjs. */
  readonly lambdas: string;
  /** The agent's version, as in package.json. */
  readonly version: string;
}

export const FUNCTION_NAMES = [
  'start-run',
  'restore',
  'report-run',
  'watch',
  'slack',
] as const satisfies readonly FunctionName[];

const PROJECT = resolve(import.meta.dirname, '..', '..', '..');
/** What goes into the agent and the handlers; a newer file there means that the build is of yesterday. */
const SOURCES = ['lib/domain', 'lambda', 'scripts/agent', 'scripts/build', 'package.json'];

/**
 * @param project the checkout's top folder
 * @throws LifeboatError SETTINGS_INVALID when something was not built, or was built before its sources were changed
 */
export function findBuiltAssets(project: string = PROJECT): OperationsAssets {
  const { version } = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8')) as { version: string };
  const agent = join(project, 'dist', 'agent', `lifeboat-${version}-linux`);
  const assets: OperationsAssets = {
    agentX64: `${agent}-x64.tar.gz`,
    agentArm64: `${agent}-arm64.tar.gz`,
    lambdas: join(project, 'dist', 'lambda'),
    version,
  };
  const files = builtFiles(assets);
  refuseMissing(files, project);
  refuseOld(files, project);
  return assets;
}

function builtFiles({ agentX64, agentArm64, lambdas }: OperationsAssets): string[] {
  return [agentX64, agentArm64, ...FUNCTION_NAMES.map((name) => join(lambdas, name, 'index.mjs'))];
}

function refuseMissing(files: readonly string[], project: string): void {
  const missing = files.filter((file) => !existsSync(file)).map((file) => relative(project, file));
  if (missing.length > 0) throw unbuilt(`What is to be deployed is not built: ${missing.join(', ')}`);
}

function refuseOld(files: readonly string[], project: string): void {
  const source = newest(SOURCES.map((path) => join(project, path)).filter((path) => existsSync(path)));
  const old = files.filter((file) => statSync(file).mtimeMs < source.time);
  if (old.length === 0) return;
  const names = old.map((file) => relative(project, file)).join(', ');
  throw unbuilt(`Built before ${relative(project, source.path)} was changed: ${names}`);
}

function unbuilt(message: string): LifeboatError {
  return new LifeboatError('SETTINGS_INVALID', message, { hint: 'Run: npm run build' });
}

function newest(paths: readonly string[]): { path: string; time: number } {
  let found = { path: '', time: 0 };
  for (const path of paths) {
    const stats = statSync(path);
    const candidate = stats.isDirectory()
      ? newest(readdirSync(path).map((name) => join(path, name)))
      : { path, time: stats.mtimeMs };
    if (candidate.time > found.time) found = candidate;
  }
  return found;
}
