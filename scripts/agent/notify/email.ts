import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Message } from '../../../lib/domain/notify/message.ts';
import type { Channel } from '../ports/notify.ts';
import { isLoopback } from './loopback.ts';
import { findSendmail, runSendmail } from './sendmail.ts';

export interface EmailOptions {
  readonly to: readonly string[];
  /** Default: `lifeboat@<host>`. */
  readonly from: string | undefined;
  /** `smtp://` or `smtps://`, may hold a password; without it the host's own sendmail is used. */
  readonly smtpUrl: string | undefined;
  readonly sendmailPath: string | undefined;
  readonly hostName: string;
  /** Where sendmail is looked for, as in PATH. */
  readonly searchPath: string | undefined;
}

/** nodemailer's own limits are minutes; a run that is over should not wait so long to say so. */
const SMTP_LIMITS = {
  dnsTimeout: 10_000,
  connectionTimeout: 10_000,
  greetingTimeout: 10_000,
  socketTimeout: 20_000,
};
/** A server that answers a byte now and then stays below every limit above. */
const SMTP_DEADLINE_MS = 60_000;

/** Sends plain-text mail through SMTP_URL, or through the host's sendmail. */
export function openEmail(options: EmailOptions): Channel {
  return {
    name: 'email',
    async send(message) {
      const mail = composeMail(options, message);
      if (options.smtpUrl !== undefined) return sendBySmtp(options.smtpUrl, mail);
      const sendmail = await findSendmail(options.sendmailPath, options.searchPath);
      if (sendmail === undefined) throw undelivered(noSendmail(options.sendmailPath));
      return sendBySendmail(sendmail, mail);
    },
  };
}

interface Mail {
  readonly from: string;
  readonly to: string[];
  readonly subject: string;
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly disableFileAccess: true;
  readonly disableUrlAccess: true;
}

function composeMail({ to, from, hostName }: EmailOptions, message: Message): Mail {
  const host = /^[A-Za-z0-9.-]+$/.test(hostName) ? hostName : 'localhost';
  const sender = from ?? `lifeboat@${host}`;
  for (const address of [sender, ...to]) requireAddress(address);
  return {
    from: sender,
    to: [...to],
    subject: message.subject.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim(),
    text: `${message.body}\n`,
    // RFC 3834: keeps holiday notices from answering a machine.
    headers: { 'Auto-Submitted': 'auto-generated' },
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

/** A line break would add headers, a leading dash would be an option of sendmail. */
function requireAddress(address: string): void {
  const bare = /<(?<bare>[^<>]*)>\s*$/.exec(address)?.groups?.['bare'] ?? address;
  if (/^[^\s<>@"-][^\s<>@"]*@[^\s<>@",;-][^\s<>@",;]*$/.test(bare) && !/\p{Cc}/u.test(address)) return;
  throw undelivered(`${JSON.stringify(address)} is no e-mail address`, 'Correct EMAIL_TO or EMAIL_FROM.');
}

async function sendBySmtp(url: string, mail: Mail): Promise<void> {
  const { createTransport } = await import('nodemailer');
  const transport = createTransport({ url, requireTLS: mustEncrypt(url), ...SMTP_LIMITS });
  try {
    const info = await withDeadline(transport.sendMail(mail), SMTP_DEADLINE_MS);
    if (info.rejected.length > 0) {
      throw undelivered(`the mail server refused ${info.rejected.join(', ')} (and took the other addresses)`);
    }
  } catch (error) {
    throw error instanceof LifeboatError ? error : undelivered(describeSmtpError(error));
  } finally {
    transport.close();
  }
}

/**
 * A password must not cross the network in clear because someone on the way removed STARTTLS from the server's answer.
 * Who wants that says so in the URL: `?ignoreTLS=true`.
 */
function mustEncrypt(text: string): boolean {
  const url = new URL(text);
  if (url.protocol === 'smtps:' || url.username === '') return false;
  return (
    !isLoopback(url.hostname) &&
    !url.searchParams.has('ignoreTLS') &&
    !url.searchParams.has('opportunisticTLS')
  );
}

async function withDeadline<Result>(work: Promise<Result>, milliseconds: number): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(undelivered(`the mail server had not taken it after ${milliseconds / 1000} s`));
    }, milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What nodemailer's errors carry. */
interface SmtpError extends Error {
  readonly code?: string;
  readonly responseCode?: number;
  readonly response?: string;
}

/** The server's own words are shown, except to a login, which some servers repeat. */
function describeSmtpError(error: unknown): string {
  const { code, responseCode, response, message } = error as SmtpError;
  if (code === 'EAUTH')
    return `the mail server refused the login of SMTP_URL (${responseCode ?? 'no answer'})`;
  const firstLine = (response ?? message).split(/[\r\n]/, 1)[0]?.slice(0, 200) ?? '';
  return `${code ?? 'SMTP'}: ${firstLine}`;
}

async function sendBySendmail(path: string, mail: Mail): Promise<void> {
  const { createTransport } = await import('nodemailer');
  // Composed here and piped by us: nodemailer's own sendmail transport has no time limit and hands down the whole environment.
  const composer = createTransport({ streamTransport: true, buffer: true, newline: 'unix' });
  const { envelope, message } = await composer.sendMail(mail);
  const problem = await runSendmail(path, {
    from: envelope.from || mail.from,
    to: envelope.to,
    message: message as Buffer,
  });
  if (problem !== undefined) throw undelivered(problem);
}

function noSendmail(wanted: string | undefined): string {
  return wanted === undefined
    ? 'no sendmail on this host, and SMTP_URL is not set'
    : `SENDMAIL_PATH ${JSON.stringify(wanted)} is no program that this user may run`;
}

function undelivered(reason: string, hint?: string): LifeboatError {
  return new LifeboatError(
    'UNDELIVERED',
    `E-mail not delivered: ${reason}`,
    hint === undefined ? {} : { hint },
  );
}
