import { execFileSync, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { ENCODED_REQUEST_PATTERN, LONGEST_ENCODED_REQUEST } from '../../../lib/domain/run/request.ts';
import { findVerdict } from '../../../lib/domain/run/result.ts';
import { AgentHost, REQUEST, RUN_ID, VERSION } from './agent-host.ts';

let host: AgentHost;
beforeEach(() => {
  host = new AgentHost();
});
afterEach(() => host.remove());

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe('looking for the agent', () => {
  const SKIP_REST = 168;

  test('skips the downloads where this very build is installed, and only there', async () => {
    expect(host.find()).toBe(0);
    await host.run();
    expect(host.find()).toBe(SKIP_REST);
    expect(host.find('0.2.0')).toBe(0);
  });

  test('lets the downloads follow where an installation is broken, or the machine is none that it knows', async () => {
    await host.run();
    rmSync(join(host.installed(), 'bin', 'lifeboat'));
    expect(host.find()).toBe(0);
    const bin = join(host.folder, 'bin');
    mkdirSync(bin);
    writeFileSync(join(bin, 'uname'), '#!/bin/sh\necho riscv64\n', { mode: 0o755 });
    expect(host.find(VERSION, { PATH: `${bin}:/usr/bin:/bin` })).toBe(0);
  });
});

describe('installing the agent', () => {
  test('installs it once under its version and runs it with the request', async () => {
    const ended = await host.run({ does: 'echo hello' });
    expect(ended).toMatchObject({ status: 0, out: 'hello\n', err: '' });
    expect(host.agentLog()).toContain(`arguments=run --request ${REQUEST} --only backup\n`);
    expect(host.agentLog()).toContain(`me=${host.installed()}/bin/lifeboat\n`);
    expect(readlinkSync(join(host.root, 'current'))).toBe(host.installed().slice(host.root.length + 1));
  });

  test('needs no download where the version is installed already, so that S3 may be away', async () => {
    await host.run();
    const before = statSync(join(host.installed(), 'VERSION')).ino;
    const ended = await host.run({ download: false, does: 'echo again' });
    expect(ended).toMatchObject({ status: 0, out: 'again\n' });
    expect(statSync(join(host.installed(), 'VERSION')).ino).toBe(before);
  });

  test('removes the downloaded tarballs, after a failure too', async () => {
    await host.run();
    await host.run({ version: '0.2.0', tarball: Buffer.from('something else') });
    const left = ['command-1', 'command-2'].flatMap((each) =>
      readdirSync(join(host.folder, each, 'downloads')),
    );
    expect(left).toEqual([]);
  });

  test('installs a build of the same version number that differs, beside the one that may be running', async () => {
    const first = host.installed();
    await host.run();
    const other = new AgentHost();
    try {
      writeFileSync(join(host.folder, `build-${VERSION}`, 'linux-x64', 'bundle', 'main.mjs'), '// changed\n');
      execFileSync('tar', [
        '-czf',
        join(other.folder, 'b.tar.gz'),
        '-C',
        join(host.folder, `build-${VERSION}`),
        'linux-x64',
      ]);
      host.tarballs.set(VERSION, readFileSync(join(other.folder, 'b.tar.gz')));
      await host.run();
      expect(host.installed()).not.toBe(first);
      expect(existsSync(join(first, 'bin', 'lifeboat'))).toBe(true);
      expect(readFileSync(join(host.installed(), 'bundle', 'main.mjs'), 'utf8')).toBe('// changed\n');
    } finally {
      other.remove();
    }
  });

  test('leaves every folder open to the user that the agent becomes', async () => {
    await host.run();
    const folders = [
      host.root,
      host.installed(),
      join(host.installed(), 'bin'),
      join(host.installed(), 'runtime'),
    ];
    expect(folders.map((folder) => statSync(folder).mode & 0o777)).toEqual(folders.map(() => 0o755));
    expect(statSync(join(host.installed(), 'bundle', 'main.mjs')).mode & 0o777).toBe(0o644);
  });

  test('installs once when five commands begin at the same moment', async () => {
    const all = await Promise.all([1, 2, 3, 4, 5].map(() => host.run({ does: 'echo done' })));
    expect(all.map(({ status, out }) => `${status} ${out}`)).toEqual(all.map(() => '0 done\n'));
    const name = host.installed().slice(host.root.length + 1);
    expect(readdirSync(host.root).toSorted()).toEqual([name, 'current'].toSorted());
  });

  test('clears away what a killed installation left, and nothing of one that is at work', async () => {
    const running = spawn('sleep', ['60']);
    const gone = spawn('true');
    await new Promise((resolve) => gone.once('close', resolve));
    const [dead, alive] = [gone.pid, running.pid].map((pid) => join(host.root, `.unfinished.${pid}.AbCdEf`));
    for (const folder of [dead, alive]) mkdirSync(join(folder ?? '', 'bin'), { recursive: true });
    try {
      await host.run();
      expect(existsSync(dead ?? '')).toBe(false);
      expect(existsSync(alive ?? '')).toBe(true);
    } finally {
      running.kill();
    }
  });

  test('keeps the two versions that were used last and the one that runs, and touches nothing foreign', async () => {
    await host.run({ version: '0.0.1' });
    mkdirSync(join(host.root, 'bin'));
    mkdirSync(join(host.root, 'notes-of-ours'));
    const inUse = spawn(join(host.installed('0.0.1'), 'runtime', 'node'), ['60']);
    try {
      for (const version of ['0.0.2', '0.0.3', '0.0.4']) await host.run({ version });
      expect(installedVersions()).toEqual(['0.0.1', '0.0.3', '0.0.4']);
      // After a rollback the older one is the newest again.
      await host.run({ version: '0.0.3' });
      await host.run({ version: '0.0.5' });
      expect(installedVersions()).toEqual(['0.0.1', '0.0.3', '0.0.5']);
      expect(readdirSync(host.root)).toEqual(expect.arrayContaining(['bin', 'notes-of-ours']));
    } finally {
      inUse.kill();
    }
  });

  test('needs nothing but bash, coreutils, tar and gzip', async () => {
    const tools = join(host.folder, 'tools');
    mkdirSync(tools);
    const names =
      'base64 bash cat chmod gzip ln ls mkdir mktemp mv readlink rm sha256sum sleep sync tar timeout touch tr uname'.split(
        ' ',
      );
    for (const name of names)
      symlinkSync(execFileSync('which', [name], { encoding: 'utf8' }).trim(), join(tools, name));
    for (const version of ['0.0.1', '0.0.2', '0.0.3', '0.0.4']) {
      const ended = await host.run({ version, does: 'echo hello', environment: { PATH: tools } });
      expect(ended).toMatchObject({ status: 0, out: 'hello\n', err: '' });
    }
  });
});

function installedVersions(): string[] {
  const names = readdirSync(host.root).filter((name) => /^\d/.test(name));
  return names.map((name) => name.slice(0, name.indexOf('-'))).toSorted();
}

describe('what the agent meets', () => {
  test('has a home, a region, the root folder to stand in, an open umask and no input', async () => {
    const ended = await host.run({ does: 'cat; echo "$AWS_DEFAULT_REGION"', environment: { HOME: '' } });
    expect(ended).toMatchObject({ status: 0, out: 'eu-central-1\n' });
    expect(host.agentLog()).toContain('HOME=/root\nAWS_REGION=eu-central-1\ncwd=/\numask=0022\n');
  });

  test('passes all of a long output on, both streams apart', async () => {
    const ended = await host.run({ does: 'for i in {1..20000}; do echo "out $i"; done; echo err >&2' });
    expect(ended.out.split('\n')).toHaveLength(20001);
    expect(ended).toMatchObject({ status: 0, err: 'err\n' });
  });

  test('takes the longest request that the Lambdas send, and none that is longer', async () => {
    const request = 'A'.repeat(LONGEST_ENCODED_REQUEST);
    expect(await host.run({ request })).toMatchObject({ status: 0 });
    expect(host.agentLog()).toContain(`--request ${request} --only backup`);
    expect(await host.run({ request: `${request}A` })).toMatchObject({ status: 2 });
  });
});

describe('how the agent ends', () => {
  test.each([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130, 143])('passes its status %d on', async (status) => {
    const ended = await host.run({ does: `exit ${status}` });
    expect(ended).toMatchObject({ status, out: '' });
  });

  test.each([
    [137, 143, 'RUN_KILLED'],
    [168, 1, 'BUG'],
    [169, 1, 'BUG'],
    [194, 1, 'BUG'],
    [124, 143, 'RUN_ENDED'],
    [139, 1, 'BUG'],
    [255, 1, 'BUG'],
  ])(
    'turns %d, which SSM would misunderstand or nobody would understand, into %d',
    async (status, seen, code) => {
      const ended = await host.run({ does: `exit ${status}` });
      expect(ended.status).toBe(seen);
      expect(findVerdict(ended.out)).toMatchObject({
        runId: RUN_ID,
        succeeded: false,
        exitStatus: seen,
        code,
      });
    },
  );

  test('tells of an agent that was killed', async () => {
    const ended = await host.run({ does: 'kill -KILL $$' });
    expect(ended.status).toBe(143);
    expect(findVerdict(ended.out)?.message).toContain('killed (signal 9)');
  });

  test('ends an agent that takes too long, with a warning that it can act on', async () => {
    await host.run(); // installed: the time is the agent's alone, on a busy machine too
    const ended = await host.run({
      does: 'trap "echo cleaned up; exit 143" TERM; while :; do sleep 0.1; done',
      runSeconds: 4,
    });
    expect(ended.status).toBe(143);
    expect(ended.out).toContain('cleaned up\n');
    expect(findVerdict(ended.out)).toMatchObject({ code: 'RUN_ENDED' });
  });

  test('kills an agent that takes no warning', async () => {
    await host.run();
    const does = 'trap "" TERM; while :; do sleep 0.1; done';
    const ended = await host.run({ does, runSeconds: 4, killAfterSeconds: 1 });
    expect(ended.status).toBe(143);
    expect(findVerdict(ended.out)).toMatchObject({ code: 'RUN_ENDED' });
  });

  test('lets the first verdict be the agent’s own, before anything of the script’s', async () => {
    const own = { runId: RUN_ID, succeeded: false, exitStatus: 4, code: 'DUMP_FAILED', message: 'no' };
    const ended = await host.run({ does: `echo 'LIFEBOAT-VERDICT ${JSON.stringify(own)}'; exit 194` });
    expect(findVerdict(ended.out)).toEqual(own);
  });

  test('leaves the agent in the process group that SSM kills', async () => {
    const { child, ended } = host.begin({
      does: 'echo $$ >"$STAND_IN_LOG.pid"; while :; do sleep 0.1; done',
    });
    await until(
      () => existsSync(`${host.log}.pid`) && readFileSync(`${host.log}.pid`, 'utf8').endsWith('\n'),
    );
    const agent = Number(readFileSync(`${host.log}.pid`, 'utf8'));
    process.kill(-(child.pid ?? 0), 'SIGKILL');
    expect(await ended).toMatchObject({ signal: 'SIGKILL' });
    await until(() => !isRunning(agent));
  });

  test('kills what the agent leaves behind, so that SSM does not wait for it until the time-out', async () => {
    const ended = await host.run({ does: 'sleep 600 & echo $! >"$STAND_IN_LOG.pid"; exit 4' });
    expect(ended.status).toBe(4);
    expect(ended.err).toContain('which the agent left behind');
    await until(() => !isRunning(Number(readFileSync(`${host.log}.pid`, 'utf8'))));
  });

  test('does not wait for what has left the process group with the output in its hands', async () => {
    const ended = await host.run({
      does: 'setsid sleep 600 & echo $! >"$STAND_IN_LOG.pid"; until [ "$(cut -d " " -f 6 /proc/$!/stat)" = $! ]; do sleep 0.02; done; exit 0',
    });
    expect(ended.status).toBe(0);
    process.kill(Number(readFileSync(`${host.log}.pid`, 'utf8')));
  });
});

describe('when the agent cannot be started', () => {
  test('refuses a tarball that is not the one that was deployed, and runs nothing of it', async () => {
    const ended = await host.run({ tarball: Buffer.from('not what was built') });
    expect(ended.status).toBe(7);
    expect(findVerdict(ended.out)).toMatchObject({ runId: RUN_ID, code: 'CORRUPT', exitStatus: 7 });
    expect(existsSync(host.log)).toBe(false);
    expect(existsSync(host.root)).toBe(false);
  });

  test('says that it could not be fetched where nothing was downloaded', async () => {
    const ended = await host.run({ download: false });
    expect(ended.status).toBe(5);
    expect(findVerdict(ended.out)).toMatchObject({ code: 'S3_FAILED' });
  });

  /** A folder that stands before the others in PATH, with one program. */
  function pathWith(name: string, text: string): Record<string, string> {
    const folder = join(host.folder, 'shims');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, name), `#!/bin/bash\n${text}\n`, { mode: 0o755 });
    return { PATH: `${folder}:/usr/bin:/bin` };
  }

  test('refuses another architecture by its name', async () => {
    const ended = await host.run({ environment: pathWith('uname', 'echo riscv64') });
    expect(ended.status).toBe(3);
    expect(findVerdict(ended.out)?.message).toContain('not for riscv64');
  });

  test('tells of a full disk and leaves nothing half-installed', async () => {
    const full = pathWith(
      'tar',
      'mkdir -p "$4/bin"; echo "tar: node: Cannot write: No space left on device" >&2; exit 2',
    );
    const ended = await host.run({ environment: full });
    expect(ended.status).toBe(6);
    expect(findVerdict(ended.out)).toMatchObject({ code: 'DISK_FULL' });
    expect(readdirSync(host.root)).toEqual([]);
  });

  test('tells of a host on which the agent does not start, and tries again next time', async () => {
    const ended = await host.run({ environment: { STAND_IN_VERSION_STATUS: '126' } });
    expect(ended.status).toBe(3);
    expect(findVerdict(ended.out)?.message).toContain('does not start here');
    expect(readdirSync(host.root)).toEqual([]);
    expect(await host.run()).toMatchObject({ status: 0 });
  });

  test('refuses to install through a link that somebody else may have laid', async () => {
    mkdirSync(join(host.folder, 'elsewhere'));
    mkdirSync(join(host.root, '..'));
    symlinkSync(join(host.folder, 'elsewhere'), host.root);
    const ended = await host.run();
    expect(ended.status).toBe(3);
    expect(readdirSync(join(host.folder, 'elsewhere'))).toEqual([]);
  });

  test('prints no verdict for a request that names no run', async () => {
    const ended = await host.run({ request: 'null', download: false });
    expect(ended).toMatchObject({ status: 5, out: '' });
  });
});

describe('hostile requests', () => {
  const hostile: [name: string, value: string][] = [
    ['a command', '$(id)'],
    ['backticks', '`id`'],
    ['an end of single quotes', "';id;'"],
    ['an end of double quotes', '"; id; "'],
    ['a space', 'a b'],
    ['a line break', 'a\nb'],
    ['a line break at its end', 'abc\n'],
    ['a way out of a folder', '../../etc/passwd'],
    ['a variable', '$SHELL'],
    ['a parameter of SSM', '{{ Request }}'],
    ['a parameter of Parameter Store', '{{ssm:parameter}}'],
    ['nothing', ''],
    ['what is not ASCII', 'ä'],
    ['a NUL', 'a\0b'],
    ['padding', 'a='],
    ['characters of plain base64', 'a+b/c'],
  ];

  test.each(hostile)('the document’s pattern refuses %s', (_name, value) => {
    expect(new RegExp(ENCODED_REQUEST_PATTERN).test(value)).toBe(false);
  });

  test('what the pattern allows reaches the agent as one argument and no shell', async () => {
    for (const request of ['-', '--help', '_-_', 'null', '-n', '--only']) {
      const ended = await host.run({ request, does: 'printf "%s|" "$@"' });
      expect(ended).toMatchObject({ status: 0, out: `run|--request|${request}|--only|backup|` });
    }
  });

  test('the script refuses by itself what came past a missing pattern without ending the quotes', async () => {
    for (const request of ['$(touch x)', 'a b', 'A'.repeat(9000)]) {
      const ended = await host.run({ request });
      expect(ended).toMatchObject({ status: 2, out: '' });
    }
    expect(existsSync(host.log)).toBe(false);
  });

  test('a run id is believed in no other form, whatever the request holds', async () => {
    const text = `{"runId":"${RUN_ID}\\" $(id)","x":"\\"runId\\":\\"20260117T020000Z-aaaaaaaaaaaa\\""}`;
    const request = Buffer.from(text).toString('base64url');
    const ended = await host.run({ request, does: 'exit 194' });
    expect(ended).toMatchObject({ status: 1, out: '' });
  });
});
