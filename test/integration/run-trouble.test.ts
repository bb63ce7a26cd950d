import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processesOfGroup } from './agent-process.ts';
import { fakeTools } from './backup-fixture.ts';
import { OS_USER, RunHost, useRunGround, withVerdict } from './run-fixture.ts';

const ground = useRunGround();

const make = (): Promise<RunHost> => RunHost.make(ground());

/** PG_BIN_DIR with such a pg_dump, for the series' user. */
function dumpingBy(script: string): string {
  const folder = fakeTools(ground(), { pg_dump: script });
  chmodSync(folder, 0o755);
  return folder;
}

let marks = 0;

/** A pg_dump that says when it was started, and then waits. */
function waitingDump(host: RunHost): { pgBinDir: string; started: () => Promise<void> } {
  marks += 1;
  const mark = path.join(path.dirname(host.backupDir), `started-${marks}`);
  return {
    pgBinDir: dumpingBy(`touch '${mark}'; exec sleep 600`),
    started: async () => {
      while (!existsSync(mark)) await sleep(20);
    },
  };
}

async function untilGone(group: number): Promise<void> {
  while (processesOfGroup(group).length > 0) await sleep(20);
}

describe('A run that fails', () => {
  it('because PostgreSQL is not there, says so in its result', async () => {
    const host = await make();
    const request = host.request({ series: { dbHost: '/nowhere' } });
    expect(await host.run(request)).toMatchObject({
      status: 4,
      verdict: { code: 'DB_CONNECT', exitStatus: 4 },
    });
    const { failure, outcome, exitStatus } = await host.result(request.runId);
    expect({ outcome, exitStatus }).toEqual({ outcome: null, exitStatus: 4 });
    expect(failure!.message).toContain('/nowhere');
    expect(failure!.hint).not.toBe('');
  });

  it('because its settings are wrong, has a result too', async () => {
    const host = await make();
    const request = host.request({ series: { compressionLevel: 19 } });
    expect(await host.run(request)).toMatchObject({ status: 2, verdict: { code: 'SETTINGS_INVALID' } });
    const { failure } = await host.result(request.runId);
    expect(failure!.message).toContain('BACKUP_COMPRESSION_LEVEL');
  });

  it('with a torrent of words, keeps output and result within their bounds', async () => {
    const host = await make();
    const noise = `for i in $(seq 3000); do echo "pg_dump: error: line $i $(printf 'é%.0s' {1..60})" >&2; done; exit 1`;
    const request = host.request({ series: { pgBinDir: dumpingBy(noise) } });
    const end = await host.run(request);
    expect(end).toMatchObject({ status: 4, verdict: { code: 'DUMP_FAILED' } });
    expect(Buffer.byteLength(end.stdout)).toBeLessThanOrEqual(24_000);
    expect(JSON.stringify(await host.result(request.runId)).length).toBeLessThan(64 * 1024);
  });

  it('without a readable request, says in its verdict what was wrong with it', async () => {
    const host = await make();
    expect(await host.run('aGVsbG8')).toMatchObject({
      status: 2,
      verdict: { runId: 'unknown', code: 'USAGE', message: expect.stringContaining('no JSON') },
    });
    expect(await host.run('$(id)')).toMatchObject({ status: 2, verdict: { runId: 'unknown' } });
  });
});

describe('When S3 is away', () => {
  it('the backup is still made on the host, and the verdict tells', async () => {
    const host = await make();
    const end = await host.run(host.request(), {
      env: { AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9', AWS_MAX_ATTEMPTS: '2' },
    });
    expect(end).toMatchObject({ status: 5, verdict: { succeeded: false, code: 'S3_UNAVAILABLE' } });
    expect(end.verdict!.message).toContain('127.0.0.1:9');
    expect(end.printed).toContain('A whole, verified copy was kept');
    expect(end.printed).toContain('result was not written to the state bucket');
    expect(host.files()).toHaveLength(3);
  });

  it('for the state bucket alone, the backup is made in both places and succeeds', async () => {
    const host = await make();
    const request = host.request({ storage: { stateBucket: 'no-such-bucket' } });
    const end = await host.run(request);
    expect(end).toMatchObject({ status: 0, verdict: { succeeded: true } });
    expect(end.printed).toContain('result was not written to the state bucket (S3_NO_BUCKET)');
    expect(host.files()).toHaveLength(3);
    expect(await host.keys(host.bucket)).toHaveLength(3);
  });

  it('only for the answer to the result, the next try meets its own object and is content', async () => {
    const host = await make();
    const request = host.request({ operation: 'list' });
    const { faults } = ground().s3;
    faults.add({ action: 'PutObject', bucket: host.stateBucket, effect: { kind: 'lose-answer' } });
    const end = await host.run(request);
    expect(end.status).toBe(0);
    expect(end.printed).not.toContain('was not written');
    expect(await host.result(request.runId)).toMatchObject({ exitStatus: 0 });
  });
});

describe('A run that is stopped', () => {
  it('by SIGTERM, tidies up and still writes its result', async () => {
    const host = await make();
    const { pgBinDir, started } = waitingDump(host);
    const request = host.request({ series: { pgBinDir } });
    const agent = host.start(request);
    await started();
    agent.kill('SIGTERM');
    const end = withVerdict(await agent.ended);
    expect(end).toMatchObject({ status: 143, verdict: { code: 'TERMINATED', exitStatus: 143 } });
    expect(end.leftRunning).toEqual([]);
    expect(await host.result(request.runId)).toMatchObject({
      failure: { code: 'TERMINATED' },
      exitStatus: 143,
    });
    expect(host.files()).toEqual([]);
  });

  it('by SIGKILL of its work alone, as the kernel does when memory is short, says who was killed', async () => {
    const host = await make();
    const { pgBinDir, started } = waitingDump(host);
    const request = host.request({ series: { pgBinDir } });
    const agent = host.start(request);
    await started();
    process.kill(pidOfWork(agent.pid), 'SIGKILL');
    const end = withVerdict(await agent.ended);
    expect(end).toMatchObject({ status: 143, verdict: { code: 'RUN_KILLED' } });
    expect(await host.result(request.runId)).toMatchObject({
      failure: { code: 'RUN_KILLED' },
      exitStatus: 143,
    });
    agent.killGroup('SIGKILL');
  });

  it('by SIGKILL of the first process alone, leaves none that goes on without it', async () => {
    const host = await make();
    const { pgBinDir, started } = waitingDump(host);
    const agent = host.start(host.request({ series: { pgBinDir } }));
    await started();
    agent.kill('SIGKILL');
    await agent.ended;
    await untilGone(agent.pid);
    expect(host.files()).toEqual([]);
  });

  it('by SIGKILL of all at any moment, is never done again, and a run with another id works', async () => {
    const host = await make();
    expect((await host.run(host.request())).status).toBe(0);
    for (const milliseconds of [150, 400, 700, 1000, 1300]) {
      const request = host.request();
      const agent = host.start(request);
      await sleep(milliseconds);
      if (processesOfGroup(agent.pid).length > 0) agent.killGroup('SIGKILL');
      await agent.ended;
      await untilGone(agent.pid);
      const again = await host.run(request);
      // Killed before it took the run on, the run is done now; else it is refused.
      expect([0, 3]).toContain(again.status);
      if (again.status === 3) expect(again.verdict).toMatchObject({ code: 'RUN_REPEATED' });
    }
    const last = host.request();
    expect((await host.run(last)).status).toBe(0);
    expect(await host.result(last.runId)).toMatchObject({ failure: null });
    expect(host.files().filter((name) => name.endsWith('.partial'))).toEqual([]);
    expect((await host.run(host.request({ operation: 'verify' }))).status).toBe(0);
  });
});

function pidOfWork(group: number): number {
  const pids = readFileSync(`/proc/${group}/task/${group}/children`, 'utf8').trim().split(' ').map(Number);
  return pids.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('run-work'))!;
}

describe('What the work is given', () => {
  it('is none of root’s environment, no .env, and the groups of a login', async () => {
    const host = await make();
    const seen = path.join(path.dirname(host.backupDir), 'seen');
    const pgBinDir = dumpingBy(`{ env; echo "groups=$(id -G)"; echo "cwd=$PWD"; } >'${seen}'; real "$@"`);
    const cwd = path.join(ground().folder, 'downloads');
    mkdirSync(cwd);
    writeFileSync(
      path.join(cwd, '.env'),
      'APP_NAME=evil\nSLACK_WEBHOOK_URL=https://hooks.slack.com/services/x\n',
    );
    const end = await host.run(host.request({ series: { pgBinDir } }), {
      cwd,
      env: {
        HOME: '/home/of-root',
        ROOTS_SECRET: 'x',
        PGPASSWORD: 'roots',
        APP_NAME: 'evil',
        SMTP_URL: 'smtp://x',
        SSM_COMMAND_ID: 'c1',
      },
    });
    expect(end.status).toBe(0);
    const lines = readFileSync(seen, 'utf8').split('\n');
    const names = lines.map((line) => line.split('=')[0]);
    for (const name of ['ROOTS_SECRET', 'PGPASSWORD', 'SMTP_URL', 'SLACK_WEBHOOK_URL', 'STATE_DIRECTORY'])
      expect(names).not.toContain(name);
    expect(lines).toContain('SSM_COMMAND_ID=c1');
    expect(lines).toContain(`USER=${OS_USER}`);
    expect(lines).not.toContain('HOME=/home/of-root');
    // In whatever order: a login's and id's differ in it.
    const groups = lines.find((line) => line.startsWith('groups='))!.slice('groups='.length);
    const ofUser = execFileSync('id', ['-G', OS_USER], { encoding: 'utf8' });
    expect(groups.split(' ').toSorted()).toEqual(ofUser.trim().split(' ').toSorted());
    expect(host.files().every((name) => name.startsWith('hostmaster_db_'))).toBe(true);
  });
});

describe('A password from Secrets Manager', () => {
  const ARN = 'arn:aws:secretsmanager:us-east-1:123456789012:secret:hostmaster-AbCdEf';
  const asked: { target: string | undefined; body: string }[] = [];
  let answer: () => { status: number; body: object };
  let server: Server;
  beforeAll(async () => {
    server = createServer((message, response) => {
      let body = '';
      message.on('data', (chunk: Buffer) => (body += chunk.toString()));
      message.on('end', () => {
        asked.push({ target: message.headers['x-amz-target'] as string | undefined, body });
        const { status, body: answered } = answer();
        response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' });
        response.end(JSON.stringify(answered));
      });
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
  });
  afterAll(() => server.close());

  const env = () => ({
    AWS_ENDPOINT_URL_SECRETS_MANAGER: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  });

  it('opens the database, as RDS’ JSON or as plain text, and stands nowhere else', async () => {
    const host = await make();
    const { password, host: dbHost } = ground().postgres;
    for (const text of [password, JSON.stringify({ username: OS_USER, password })]) {
      answer = () => ({ status: 200, body: { ARN, Name: 'hostmaster', SecretString: text } });
      const user = text === password ? OS_USER : 'nobody';
      const request = host.request({ series: { dbHost, user, passwordSecretArn: ARN } });
      const end = await host.run(request, { env: env() });
      expect(end.status).toBe(0);
      expect(end.printed).not.toContain(password);
      expect(JSON.stringify(await host.result(request.runId))).not.toContain(password);
    }
    expect(asked.at(-1)).toEqual({
      target: 'secretsmanager.GetSecretValue',
      body: JSON.stringify({ SecretId: ARN }),
    });
  });

  it('that cannot be read, or is none, fails the run in words', async () => {
    const host = await make();
    const request = host.request({ series: { passwordSecretArn: ARN } });
    answer = () => ({ status: 400, body: { __type: 'AccessDeniedException', Message: 'not authorized' } });
    const end = await host.run(request, { env: env() });
    expect(end).toMatchObject({ status: 3, verdict: { code: 'SECRET_UNREADABLE' } });
    expect(end.verdict!.message).toContain(ARN);
    expect(await host.result(request.runId)).toMatchObject({ failure: { code: 'SECRET_UNREADABLE' } });
  });

  it('is asked for only when the request names one', async () => {
    const host = await make();
    const before = asked.length;
    await host.run(host.request({ operation: 'list' }), { env: env() });
    expect(asked.length).toBe(before);
  });
});
