import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Message } from '../../../lib/domain/notify/message.ts';
import type { Clock } from '../ports/host.ts';
import type { Channel } from '../ports/notify.ts';
import { isLoopback } from './loopback.ts';

export interface SlackOptions {
  /** Whoever knows it may post: it never appears in an error. */
  readonly webhookUrl: string;
  readonly clock: Clock;
  /** For one request, until its answer is whole. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 5000;
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;
/** All pauses of one message together: a run must not hang on a Slack that says "come back in an hour". */
const LONGEST_WAIT_MS = 60_000;

/** Posts to an incoming webhook (docs.slack.dev/messaging/sending-messages-using-incoming-webhooks). */
export function openSlack({ webhookUrl, clock, timeoutMs = TIMEOUT_MS }: SlackOptions): Channel {
  return {
    name: 'slack',
    async send(message) {
      const url = parseWebhookUrl(webhookUrl);
      let waited = 0;
      for (let attempt = 1; ; attempt += 1) {
        const problem = await post(url, message, timeoutMs);
        if (!problem) return;
        const wanted = problem.retryAfterMs?.(clock.now()) ?? FIRST_PAUSE_MS * 2 ** (attempt - 1);
        const pause = Math.min(wanted, LONGEST_WAIT_MS - waited);
        if (!problem.passing || attempt === ATTEMPTS || (pause <= 0 && wanted > 0)) {
          throw undelivered(`${problem.reason}${attempt > 1 ? `, after ${attempt} attempts` : ''}`);
        }
        await clock.sleep(pause);
        waited += pause;
      }
    },
  };
}

interface Problem {
  readonly reason: string;
  /** Worth another attempt. */
  readonly passing: boolean;
  readonly retryAfterMs?: (now: Date) => number | undefined;
}

async function post(url: URL, message: Message, timeoutMs: number): Promise<Problem | undefined> {
  try {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json; charset=utf-8' },
      body: JSON.stringify({ text: escapeText(`${message.subject}\n${message.body}`), mrkdwn: false }),
      // Following one would carry the message to wherever the answer says.
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
    });
    const text = await answer.text();
    return answer.ok ? undefined : describeAnswer(answer, text);
  } catch (error) {
    return { reason: describeNetworkError(error, timeoutMs), passing: true };
  }
}

function describeAnswer(answer: Response, text: string): Problem {
  // Slack answers with one word such as no_service; anything else (a proxy's page) might repeat the URL.
  const word = /^[a-z_]{1,64}$/.test(text.trim()) ? ` ${text.trim()}` : '';
  const reason = `the webhook answered HTTP ${answer.status}${word}`;
  if (answer.status === 429) {
    const header = answer.headers.get('retry-after');
    return { reason, passing: true, retryAfterMs: (now) => parseRetryAfter(header, now) };
  }
  return { reason, passing: answer.status >= 500 };
}

/** Seconds or an HTTP date (RFC 9110, 10.2.3); `undefined` when it is neither. */
function parseRetryAfter(header: string | null, now: Date): number | undefined {
  if (header === null) return undefined;
  if (/^\d+$/.test(header.trim())) return Number(header) * 1000;
  const time = Date.parse(header);
  return Number.isNaN(time) ? undefined : Math.max(0, time - now.getTime());
}

/** Codes only: the texts of Node's errors name the host and, for some, the whole URL. */
function describeNetworkError(error: unknown, timeoutMs: number): string {
  const { name, cause } = error as Error & { cause?: { code?: unknown; errors?: { code?: unknown }[] } };
  if (name === 'TimeoutError') return `no answer within ${timeoutMs} ms`;
  const code = cause?.code ?? cause?.errors?.[0]?.code;
  return `the connection failed${typeof code === 'string' ? ` (${code})` : ''}`;
}

/** Plain http would show the URL, which is the secret, to everyone on the way. */
function parseWebhookUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback(url.hostname))) return url;
  throw undelivered('SLACK_WEBHOOK_URL must start with https:// (the URL is not shown)');
}

/** docs.slack.dev/messaging/formatting-message-text: these three and no others. */
function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function undelivered(reason: string): LifeboatError {
  return new LifeboatError('UNDELIVERED', `Slack message not delivered: ${reason}`);
}
