import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { SMTPServer } from 'smtp-server';
import { openEmail, type EmailOptions } from '../../../scripts/agent/notify/email.ts';

const MESSAGE = {
  subject: '🔄 HostMaster DB Backup SUCCESS',
  body: '✅ Backup completed successfully\n.\nFrom here on: still the body',
};
const PASSWORD = 'p@ss:w/ord%';
const OPTIONS: EmailOptions = {
  to: ['admin@example.com', 'Ops Team <ops@example.com>'],
  from: undefined,
  smtpUrl: undefined,
  sendmailPath: undefined,
  hostName: 'db-1',
  searchPath: undefined,
};

interface ReceivedMail {
  readonly from: string;
  readonly to: string[];
  readonly source: string;
}

/** The text as the reader's program shows it. */
function decodeBody(source: string): string {
  const [head, ...rest] = source.split(/\r?\n\r?\n/);
  const body = rest.join('\n\n');
  if (/^content-transfer-encoding: base64/im.test(head ?? ''))
    return Buffer.from(body, 'base64').toString('utf8');
  const bytes = body
    .replace(/=\r?\n/g, '')
    .replace(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return Buffer.from(bytes, 'latin1').toString('utf8').replaceAll('\r\n', '\n');
}

describe('the e-mail channel through SMTP', () => {
  const mails: ReceivedMail[] = [];
  let server: SMTPServer;

  async function startServer(refuse?: string): Promise<string> {
    server = new SMTPServer({
      authOptional: true,
      allowInsecureAuth: true,
      disabledCommands: ['STARTTLS'],
      onAuth: ({ username, password }, _session, done) => {
        if (username === 'mailer' && password === PASSWORD) done(null, { user: username });
        else done(new Error(`no such login: ${String(password)}`));
      },
      onRcptTo: ({ address }, _session, done) =>
        done(address === refuse ? new Error(`${address} has no mailbox here`) : null),
      onData: (stream, session, done) => {
        const chunks: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () => {
          const { mailFrom, rcptTo } = session.envelope;
          mails.push({
            from: mailFrom ? mailFrom.address : '',
            to: rcptTo.map(({ address }) => address),
            source: Buffer.concat(chunks).toString('utf8'),
          });
          done();
        });
      },
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(server.server.address() as AddressInfo).port}`;
  }

  beforeEach(() => (mails.length = 0));
  afterEach(() => new Promise<void>((resolve) => server.close(() => resolve())));

  it('delivers to every address, logged in, with the emoji and lines of the message whole', async () => {
    const address = await startServer();
    const smtpUrl = `smtp://mailer:${encodeURIComponent(PASSWORD)}@${address}`;
    await openEmail({ ...OPTIONS, smtpUrl }).send(MESSAGE);
    expect(mails).toHaveLength(1);
    expect(mails[0]).toMatchObject({ from: 'lifeboat@db-1', to: ['admin@example.com', 'ops@example.com'] });
    const source = mails[0]!.source;
    expect(source).toMatch(/^Subject: =\?UTF-8\?/m);
    expect(source).toMatch(/^Auto-Submitted: auto-generated\r?$/m);
    expect(decodeBody(source).trimEnd()).toBe(MESSAGE.body);
  });

  it('never shows the password of a refused login, even when the server repeats it', async () => {
    const smtpUrl = `smtp://mailer:WRONGSECRET@${await startServer()}`;
    const error: unknown = await openEmail({ ...OPTIONS, smtpUrl })
      .send(MESSAGE)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'UNDELIVERED',
      message: 'E-mail not delivered: the mail server refused the login of SMTP_URL (535)',
    });
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('WRONGSECRET');
  });

  it('reports an address that the server refused although the others got the mail', async () => {
    const smtpUrl = `smtp://${await startServer('ops@example.com')}`;
    await expect(openEmail({ ...OPTIONS, smtpUrl }).send(MESSAGE)).rejects.toThrow('refused ops@example.com');
    expect(mails[0]?.to).toEqual(['admin@example.com']);
  });

  it('lets no line break in a subject or an address add a header', async () => {
    const smtpUrl = `smtp://${await startServer()}`;
    const subject = 'Backup\r\nBcc: thief@example.com';
    await openEmail({ ...OPTIONS, smtpUrl }).send({ ...MESSAGE, subject });
    expect(mails[0]!.source).toMatch(/^Subject: Backup Bcc: thief@example.com\r?$/m);
    expect(mails[0]!.source).not.toMatch(/^Bcc:/m);
    for (const to of [
      'a@example.com\r\nBcc: b@example.com',
      '-oQ/tmp@example.com',
      'Name <-X/tmp/log@example.com>',
      'nobody',
    ]) {
      await expect(openEmail({ ...OPTIONS, smtpUrl, to: [to] }).send(MESSAGE)).rejects.toThrow(
        'is no e-mail address',
      );
    }
  });

  it('sends no password over an unencrypted connection to another host', async () => {
    const port = (await startServer()).split(':')[1];
    // 0.0.0.0 reaches this host, but is not known as loopback.
    const smtpUrl = `smtp://mailer:${encodeURIComponent(PASSWORD)}@0.0.0.0:${port}`;
    await expect(openEmail({ ...OPTIONS, smtpUrl }).send(MESSAGE)).rejects.toThrow(
      /E-mail not delivered: .*(TLS|502|500)/i,
    );
    expect(mails).toHaveLength(0);
  });

  it('says so when no server answers', async () => {
    const smtpUrl = `smtp://mailer:SECRET@${await startServer()}`;
    await new Promise<void>((resolve) => server.close(() => resolve()));
    const error: unknown = await openEmail({ ...OPTIONS, smtpUrl })
      .send(MESSAGE)
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'UNDELIVERED', message: expect.stringContaining('ECONNREFUSED') });
    expect(inspect(error, { depth: 10 })).not.toContain('SECRET');
  });
});

describe('the e-mail channel through sendmail', () => {
  let folder: string;

  function writeSendmail(script: string, name = 'sendmail'): string {
    const path = join(folder, name);
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
    return path;
  }

  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'lifeboat sendmail '))));
  afterEach(() => rmSync(folder, { recursive: true }));

  it('pipes the mail in, addresses as arguments, with none of our environment', async () => {
    const sendmailPath = writeSendmail(
      `cat > '${folder}/mail'; for a in "$@"; do printf '%s\\n' "$a"; done > '${folder}/args'; env > '${folder}/env'`,
    );
    process.env['DB_PASSWORD'] = 'SECRET';
    await openEmail({ ...OPTIONS, sendmailPath, from: 'backups@example.com' }).send(MESSAGE);
    delete process.env['DB_PASSWORD'];
    expect(readFileSync(`${folder}/args`, 'utf8')).toBe(
      '-i\n-f\nbackups@example.com\nadmin@example.com\nops@example.com\n',
    );
    const mail = readFileSync(`${folder}/mail`, 'utf8');
    expect(mail).toMatch(/^To: admin@example.com, Ops Team <ops@example.com>$/m);
    expect(mail).not.toContain('\r');
    expect(decodeBody(mail).trimEnd()).toBe(MESSAGE.body);
    expect(readFileSync(`${folder}/env`, 'utf8')).not.toContain('SECRET');
  });

  it('finds sendmail in PATH', async () => {
    writeSendmail(`cat > '${folder}/mail'`);
    await openEmail({ ...OPTIONS, searchPath: `/nonexistent:${folder}` }).send(MESSAGE);
    expect(readFileSync(`${folder}/mail`, 'utf8')).toContain('Auto-Submitted');
  });

  it('reports a failing sendmail with its status and last words', async () => {
    const sendmailPath = writeSendmail('echo "queue is full" >&2; exit 75');
    await expect(openEmail({ ...OPTIONS, sendmailPath }).send(MESSAGE)).rejects.toMatchObject({
      code: 'UNDELIVERED',
      message: `E-mail not delivered: ${sendmailPath} ended with status 75: queue is full`,
    });
  });

  it('names the path that cannot be run', async () => {
    const sendmailPath = join(folder, 'missing');
    await expect(openEmail({ ...OPTIONS, sendmailPath }).send(MESSAGE)).rejects.toThrow('is no program');
  });
});
