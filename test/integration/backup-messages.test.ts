import { mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fakeTools, onSmallDisk, Stage, useGround, type BackupJson } from './backup-fixture.ts';

const ground = useGround();

const DATABASE = 'hostmaster_prod';
const SECRET_PATH = '/services/T00000000/B00000000/s3cretpathof4711';

beforeAll(async () => {
  const { postgres } = ground();
  await postgres.createDatabase(DATABASE);
  await postgres.psql(DATABASE, 'CREATE TABLE users AS SELECT generate_series(1, 1000) AS id');
});

interface SlackAnswer {
  readonly status: number;
  readonly retryAfter?: string;
}

/** A stand-in for Slack's webhooks: keeps what it is sent, and answers as it is told, at last with 200. */
class Slack {
  readonly texts: string[] = [];
  answers: SlackAnswer[] = [];
  always: SlackAnswer = { status: 200 };
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { text } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { text: string };
        const { status, retryAfter } = this.answers.shift() ?? this.always;
        if (status === 200 && request.url === SECRET_PATH) this.texts.push(text);
        response.writeHead(status, retryAfter === undefined ? {} : { 'Retry-After': retryAfter });
        response.end(status === 200 ? 'ok' : 'no');
      });
    });
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.listen(0, '127.0.0.1', resolve);
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${SECRET_PATH}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

let slack: Slack;
beforeEach(async () => {
  slack = new Slack();
  await slack.listen();
});
afterEach(() => slack.close());

type Overrides = Record<string, string | undefined>;

const setStage = (env: Overrides = {}): Promise<Stage> =>
  Stage.set(ground(), { DB_NAME: DATABASE, SLACK_WEBHOOK_URL: slack.url, ...env });

describe('the message of a backup', () => {
  it('has on success the user’s own lines first, then what one would ask next', async () => {
    const stage = await setStage();
    const end = await stage.run(['backup', '--json']);
    const { id, bytes, runId, messages } = end.json() as BackupJson;
    expect(messages).toEqual([{ name: 'slack', delivered: true }]);
    expect(slack.texts).toHaveLength(1);
    expect(slack.texts[0]!.replace(/Duration: \d.*s/, 'Duration: 1s').split('\n')).toEqual([
      '🔄 HostMaster DB Backup SUCCESS',
      '✅ Backup completed successfully',
      `File: ${id}.sql.gz`,
      `Size: ${(Math.ceil((bytes / 1024) * 10) / 10).toFixed(1)}K`,
      'Duration: 1s',
      '',
      expect.stringMatching(/^Database: hostmaster_prod on /),
      'Holds: 1 table, 1,000 rows',
      `Lies at: ${stage.dir}/${id}.sql.gz`,
      `Lies at: s3://${stage.bucket}/database/${id}.sql.gz`,
      `Restore with: lifeboat restore ${id}`,
      `Run: ${runId}`,
    ]);
  });

  it('says on success when the backup lies on this host only', async () => {
    const stage = await setStage({ S3_BUCKET: undefined });
    await stage.run(['backup']);
    expect(slack.texts[0]).toContain('⚠️ Only on this host: it would be lost with the host');
  });

  it('says on failure of the disk alone that the last good backup is the one just made in S3', async () => {
    const stage = await setStage();
    const end = await stage.run(['backup'], {}, { through: onSmallDisk(stage.dir, 1024 * 1024) });
    expect(end.status).toBe(6);
    const id = (await stage.list())[0]!.id;
    expect(slack.texts[0]).toMatch(/^🔄 HostMaster DB Backup FAILED\n❌ \S+ has \S+ free/);
    expect(slack.texts[0]).toContain(
      `\nA whole, verified copy was kept: s3://${stage.bucket}/database/${id}.sql.gz\n`,
    );
    expect(slack.texts[0]).toContain(`\nLast good backup: ${id}, `);
  });

  it('says on failure what failed, what to do, and that the last good backup is safe', async () => {
    const stage = await setStage();
    await stage.run(['backup', '--json'], { SLACK_WEBHOOK_URL: undefined });
    const id = (await stage.list())[0]!.id;
    const tools = fakeTools(ground(), { pg_dump: 'echo "pg_dump: error: query failed" >&2; exit 1' });
    const end = await stage.run(['backup'], { PG_BIN_DIR: tools });
    expect(end.status).toBe(4);
    expect(slack.texts[0]!.replace(/Duration: \d.*s/, 'Duration: 1s').split('\n')).toEqual([
      '🔄 HostMaster DB Backup FAILED',
      '❌ pg_dump ended with status 1: pg_dump: error: query failed',
      expect.stringMatching(/^What to do: See pg_dump’s message above; /),
      'Error: DUMP_FAILED',
      'Duration: 1s',
      '',
      expect.stringMatching(/^Database: hostmaster_prod on /),
      expect.stringMatching(new RegExp(`^Last good backup: ${id}, \\d.*s old \\(.* UTC\\), is safe$`)),
      expect.stringMatching(/^Run: /),
    ]);
  });

  it('says on failure that there is no good backup yet, and calls another app by its name', async () => {
    const stage = await setStage({ APP_NAME: 'billing', DB_PASSWORD: 'wr0ng-pa55word' });
    await stage.run(['backup']);
    expect(slack.texts[0]).toMatch(
      /^🔄 billing DB Backup FAILED\n❌ Cannot connect to database "hostmaster_prod"/,
    );
    expect(slack.texts[0]).toContain('⚠️ There is no good backup of this database yet');
    expect(slack.texts[0]).not.toContain('wr0ng-pa55word');
  });

  it('tells of a backup that S3 did not take as of a failure, and names the copy that was kept', async () => {
    const stage = await setStage({ AWS_SECRET_ACCESS_KEY: 'wrong' });
    expect((await stage.run(['backup'])).status).toBe(5);
    expect(slack.texts[0]).toMatch(/^🔄 HostMaster DB Backup FAILED\n❌ S3 refused the signature/);
    expect(slack.texts[0]).toContain(`A whole, verified copy was kept: ${stage.dir}/`);
  });

  it('is sent once more after 429, when Slack says, and after 500', async () => {
    const stage = await setStage();
    slack.answers = [{ status: 429, retryAfter: '1' }, { status: 500 }];
    const end = await stage.run(['backup', '--json']);
    expect((end.json() as BackupJson).messages).toEqual([{ name: 'slack', delivered: true }]);
    expect(slack.texts).toHaveLength(1);
  });

  it('that cannot be delivered changes nothing about the verdict, is reported, and its URL is not printed', async () => {
    const stage = await setStage();
    slack.always = { status: 403 };
    const good = await stage.run(['backup', '--json']);
    expect(good.status).toBe(0);
    expect((good.json() as BackupJson).messages).toEqual([
      { name: 'slack', delivered: false, error: expect.any(String) },
    ]);
    expect(good.stderr).toContain('⚠️  The slack message was not delivered: ');
    const bad = await stage.run(['backup'], { DB_PASSWORD: 'wrong' });
    expect(bad.status).toBe(4);
    expect(bad.stdout).toContain('The slack message was not delivered');
    for (const { printed } of [good, bad]) expect(printed).not.toContain('s3cretpathof4711');
  });

  it('to a webhook that is no URL is reported, without printing it, and keeps nothing from being backed up', async () => {
    const stage = await setStage({ SLACK_WEBHOOK_URL: 'hush://s3cretpathof4711' });
    const end = await stage.run(['backup', '--json']);
    expect(end.status).toBe(0);
    expect((end.json() as BackupJson).messages).toMatchObject([{ name: 'slack', delivered: false }]);
    expect(end.printed).not.toContain('s3cretpathof4711');
  });

  it('is none when whoever started the run, by its id, tells people', async () => {
    const stage = await setStage({ LIFEBOAT_RUN_ID: 'ssm-4711' });
    const end = await stage.run(['backup', '--json']);
    expect(end.json()).toMatchObject({ runId: 'ssm-4711', messages: [] });
    await stage.run(['backup'], { DB_PASSWORD: 'wrong' });
    expect(slack.texts).toEqual([]);
  });

  it('is sent when a .env that cannot be read kept the run from starting', async () => {
    const stage = await setStage();
    const cwd = mkdtempSync(path.join(ground().folder, 'cwd-'));
    symlinkSync('.env', path.join(cwd, '.env'));
    const end = await stage.run(['backup'], {}, { cwd });
    expect(end.stderr).toContain(`❌ Cannot read ${path.join(cwd, '.env')}: ELOOP`);
    expect(end.status).toBe(2);
    expect(slack.texts[0]).toMatch(/^🔄 HostMaster DB Backup FAILED\n❌ Cannot read /);
  });

  it('is none of a dry run', async () => {
    const stage = await setStage();
    await stage.run(['backup', '--dry-run']);
    expect(slack.texts).toEqual([]);
  });

  it('is sent when a signal ended the run, which does not wait long for it', async () => {
    const stage = await setStage();
    const started = path.join(ground().folder, 'started');
    const tools = fakeTools(ground(), { pg_dump: `echo > '${started}'; exec sleep 30` });
    const agent = stage.start(['backup'], { PG_BIN_DIR: tools });
    while (!isThere(started)) await sleep(10);
    agent.kill('SIGTERM');
    expect((await agent.ended).status).toBe(143);
    expect(slack.texts[0]).toMatch(/^🔄 HostMaster DB Backup FAILED\n❌ Stopped by SIGTERM\n/);
  });

  it('goes by e-mail as well, through sendmail', async () => {
    const mail = path.join(ground().folder, 'mail');
    const sendmail = path.join(ground().folder, 'sendmail');
    writeFileSync(sendmail, `#!/bin/sh\n{ echo "$@"; cat; } > '${mail}'\n`, { mode: 0o755 });
    const stage = await setStage({ EMAIL_TO: 'admin@example.com', SENDMAIL_PATH: sendmail });
    const end = await stage.run(['backup', '--json']);
    const { id, messages } = end.json() as BackupJson;
    expect(messages.map(({ name, delivered }) => [name, delivered])).toEqual([
      ['slack', true],
      ['email', true],
    ]);
    const sent = readFileSync(mail, 'utf8');
    expect(sent).toMatch(/^To: admin@example\.com/im);
    expect(sent).toContain(id);
  });
});

function isThere(file: string): boolean {
  try {
    return readFileSync(file).length > 0;
  } catch {
    return false;
  }
}
