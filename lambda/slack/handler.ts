import { z } from 'zod';
import { asLifeboatError, combineProblems, LifeboatError } from '../../lib/domain/errors.ts';
import {
  describeAlarm,
  isNews,
  parseAlarm,
  type AlarmContext,
} from '../../lib/domain/notify/alarm-wording.ts';
import { severalLines, type Message } from '../../lib/domain/notify/message.ts';
import type { Clock } from '../clock.ts';
import type { Handler } from '../handler.ts';
import type { Log } from '../log.ts';
import type { SecretParameter } from './parameter.ts';
import { postToSlack } from './webhook.ts';

export interface SlackEdges {
  readonly parameter: SecretParameter;
  readonly clock: Clock;
  readonly log: Log;
  readonly alarms: AlarmContext;
  readonly testOrigin: string | undefined;
}

/** What SNS writes into a queue (docs.aws.amazon.com/sns/latest/dg/sns-sqs-as-subscriber.html), as far as it is read. */
const notificationSchema = z.object({
  MessageId: z.string(),
  Subject: z.string().nullish(),
  Message: z.string(),
});

type Notification = z.infer<typeof notificationSchema>;

/** What Lambda hands over from a queue (docs.aws.amazon.com/lambda/latest/dg/with-sqs.html): SNS' own words in each body. */
const eventSchema = z.object({
  Records: z.array(
    z.object({
      body: z.string().transform(parseJson).pipe(notificationSchema),
    }),
  ),
});

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // the schema says what is expected
  }
}

/** Posts what the topic carries; a failure is thrown, so that SQS hands it over again and then keeps it as a dead letter. */
export function makeHandler(edges: SlackEdges): Handler<{ posted: number }> {
  return async (event, context) => {
    const parsed = eventSchema.safeParse(event);
    if (!parsed.success) {
      throw new LifeboatError('USAGE', 'The event is none of the queue that the topic fills', {
        hint: 'Publish to the topic instead of invoking the function.',
      });
    }
    const problems: LifeboatError[] = [];
    const messages = parsed.data.Records.map(({ body }) => ({
      notification: body,
      alarm: parseAlarm(body.Message),
    }));
    const news = messages.filter(({ alarm }) => !alarm || isNews(alarm));
    for (const { notification, alarm } of news) {
      try {
        const url = await edges.parameter.read();
        const remainingMs = (): number => context.getRemainingTimeInMillis();
        const message = alarm ? describeAlarm(alarm, edges.alarms) : toMessage(notification);
        await postToSlack(url, message, { ...edges, remainingMs });
        edges.log.info('Posted', { messageId: notification.MessageId });
      } catch (error) {
        edges.parameter.forget(); // it may have been changed in Slack and in Parameter Store
        problems.push(asLifeboatError(error));
      }
    }
    const problem = combineProblems(problems);
    if (problem) throw problem;
    return { posted: news.length };
  };
}

/** Our own messages have their subject, with its emoji, as the body's first line: SNS' own is plain ASCII. */
function toMessage({ Subject: subject, Message: text }: Notification): Message {
  const [first = '', ...rest] = text.split('\n');
  if (!subject || first.includes(subject)) return { subject: first, body: rest.join('\n') };
  return { subject, body: severalLines(text) };
}
