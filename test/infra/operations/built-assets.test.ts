import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { findBuiltAssets, FUNCTION_NAMES } from '../../../lib/infra/operations/built-assets.ts';

const BUILT = [
  'dist/agent/lifeboat-1.2.3-linux-x64.tar.gz',
  'dist/agent/lifeboat-1.2.3-linux-arm64.tar.gz',
  ...FUNCTION_NAMES.map((name) => `dist/lambda/${name}/index.mjs`),
];

let project: string;
beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), 'lifeboat-project-'));
  write('package.json', 1000);
  writeFileSync(join(project, 'package.json'), '{"version":"1.2.3"}');
  utimesSync(join(project, 'package.json'), 1000, 1000);
  write('lib/domain/names.ts', 1000);
  write('scripts/agent/main.ts', 1000);
  for (const file of BUILT) write(file, 2000);
});
afterEach(() => rmSync(project, { recursive: true, force: true }));

function write(file: string, time: number): void {
  const path = join(project, file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, file);
  utimesSync(path, time, time);
}

function refusal(): LifeboatError {
  try {
    findBuiltAssets(project);
  } catch (error) {
    return error as LifeboatError;
  }
  throw new Error('nothing was refused');
}

test('what was built after its sources is found', () => {
  expect(findBuiltAssets(project)).toEqual({
    agentX64: join(project, 'dist/agent/lifeboat-1.2.3-linux-x64.tar.gz'),
    agentArm64: join(project, 'dist/agent/lifeboat-1.2.3-linux-arm64.tar.gz'),
    lambdas: join(project, 'dist/lambda'),
    version: '1.2.3',
  });
});

test.each(BUILT)('a missing %s is named, with what to run', (file) => {
  rmSync(join(project, file));
  expect(refusal()).toMatchObject({ code: 'SETTINGS_INVALID', hint: 'Run: npm run build' });
  expect(refusal().message).toContain(file);
});

test('without any build everything is named at once', () => {
  rmSync(join(project, 'dist'), { recursive: true });
  for (const file of BUILT) expect(refusal().message).toContain(file);
});

test.each(['lib/domain/names.ts', 'lambda/watch/handler.ts', 'scripts/agent/host/lock.ts', 'package.json'])(
  'a build from before %s was changed is refused',
  (source) => {
    if (source === 'package.json') utimesSync(join(project, source), 3000, 3000);
    else write(source, 3000);
    expect(refusal()).toMatchObject({ hint: 'Run: npm run build' });
    expect(refusal().message).toContain(`Built before ${source} was changed`);
  },
);

test('a change of what is not built in, as of a construct or a test, needs no new build', () => {
  write('lib/infra/operations/alarms.ts', 3000);
  write('test/domain/x.test.ts', 3000);
  expect(() => findBuiltAssets(project)).not.toThrow();
});
