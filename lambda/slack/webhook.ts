import { LifeboatError } from '../../lib/domain/errors.ts';
import type { Message } from '../../lib/domain/notify/message.ts';
import type { Clock } from '../clock.ts';

const TIMEOUT_MS = 5_000;
const ATTEMPTS = 5;
const FIRST_PAUSE_MS = 500;
/** Kept back for one more request and the error. */
const RESERVE_MS = TIMEOUT_MS + 1_000;
/** Slack cuts longer texts into several messages. */
const LONGEST_TEXT = 38_000;

export interface Posting {
  readonly clock: Clock;
  /** Until the function is ended. */
  readonly remainingMs: () => number;
  /** `http://127.0.0.1:PORT`: where a test's stand-in for Slack listens. */
  readonly testOrigin: string | undefined;
}

/**
 * Posts to an incoming webhook (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks). Whoever knows the URL
 * may post, so it is in no error and no log.
 *
 * @throws LifeboatError UNDELIVERED
 */
export async function postToSlack(webhookUrl: string, message: Message, posting: Posting): Promise<void> {
  const { clock, remainingMs } = posting;
  const url = parseWebhookUrl(webhookUrl, posting.testOrigin);
  for (let attempt = 1; ; attempt += 1) {
    const problem = await post(url, message);
    if (!problem) return;
    const pause = problem.retryAfterMs?.(clock.now()) ?? FIRST_PAUSE_MS * 2 ** (attempt - 1);
    if (!problem.passing || attempt === ATTEMPTS || pause > remainingMs() - RESERVE_MS)
      throw undelivered(`${problem.reason}${attempt > 1 ? `, after ${attempt} attempts` : ''}`);
    await clock.sleep(pause);
  }
}

interface Problem {
  readonly reason: string;
  /** Worth another attempt. */
  readonly passing: boolean;
  readonly retryAfterMs?: (now: Date) => number | undefined;
}

async function post(url: URL, { subject, body }: Message): Promise<Problem | undefined> {
  const text = `${subject}\n${body}`.slice(0, LONGEST_TEXT);
  try {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json; charset=utf-8' },
      body: JSON.stringify({ text: escapeText(text), mrkdwn: false }),
      // Following one would carry the message to wherever the answer says.
      redirect: 'manual',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const words = await answer.text();
    return answer.ok ? undefined : describeAnswer(answer, words);
  } catch (error) {
    return { reason: describeNetworkError(error), passing: true };
  }
}

function describeAnswer(answer: Response, text: string): Problem {
  // Slack answers with one word such as no_service; anything else (a proxy's page) might repeat the URL.
  const word = /^[a-z_]{1,64}$/.test(text.trim()) ? ` ${text.trim()}` : '';
  const reason = `the webhook answered HTTP ${answer.status}${word}`;
  if (answer.status !== 429) return { reason, passing: answer.status >= 500 };
  const header = answer.headers.get('retry-after');
  return { reason, passing: true, retryAfterMs: (now) => parseRetryAfter(header, now) };
}

/** Seconds or an HTTP date (RFC 9110, 10.2.3); `undefined` when it is neither. */
function parseRetryAfter(header: string | null, now: Date): number | undefined {
  if (header === null) return undefined;
  if (/^\d+$/.test(header.trim())) return Number(header) * 1000;
  const time = Date.parse(header);
  return Number.isNaN(time) ? undefined : Math.max(0, time - now.getTime());
}

/** Codes only: the texts of Node's errors name the host and, for some, the whole URL. */
function describeNetworkError(error: unknown): string {
  const { name, cause } = error as {
    name?: unknown;
    cause?: { code?: unknown; errors?: { code?: unknown }[] };
  };
  if (name === 'TimeoutError') return `no answer within ${TIMEOUT_MS} ms`;
  const code = cause?.code ?? cause?.errors?.[0]?.code;
  return `the connection failed${typeof code === 'string' ? ` (${code})` : ''}`;
}

const SLACK_ORIGIN = 'https://hooks.slack.com';

/** Whoever can change the parameter must not be able to send our messages elsewhere. */
function parseWebhookUrl(text: string, testOrigin: string | undefined): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && url.username === '' && url.password === '') {
    if (url.origin === SLACK_ORIGIN) return url;
    if (testOrigin !== undefined && isLoopback(testOrigin) && url.origin === new URL(testOrigin).origin)
      return url;
  }
  throw undelivered(`the parameter’s value does not begin with ${SLACK_ORIGIN}/ (it is not shown)`);
}

function isLoopback(origin: string): boolean {
  return URL.canParse(origin) && ['127.0.0.1', '[::1]', 'localhost'].includes(new URL(origin).hostname);
}

/** docs.slack.dev/messaging/formatting-message-text: these three and no others. */
function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function undelivered(reason: string): LifeboatError {
  return new LifeboatError('UNDELIVERED', `Slack message not delivered: ${reason}`, {
    hint: 'It is tried again by itself. Check the webhook in Slack, and the parameter that holds its URL.',
  });
}
