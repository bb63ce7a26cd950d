import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LambdaFunction } from '../lambda/lambda-function.ts';
import type { Queue, QueuedMessage } from './queue.ts';

interface EventSourceOptions {
  readonly queue: Queue;
  readonly function: Pick<LambdaFunction, 'invoke'>;
  readonly maximumConcurrency: number;
  /** Where a message goes that has been received so often. */
  readonly redrive: { readonly deadLetters: Queue; readonly maximumReceives: number } | undefined;
  /** Asked as the function’s role. @throws AwsError */
  readonly check: (action: string) => void;
  /** Instead of the queue’s visibility time-out. */
  readonly retryDelayMilliseconds: number;
  readonly follow: (work: Promise<void>) => void;
}

/**
 * Lambda’s reading of a queue, a message at a time
 * (https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html): as many at once as the mapping allows, the others wait in the
 * queue; what the function fails at is handed over again.
 */
export class EventSource {
  readonly #options: EventSourceOptions;
  #running = 0;

  constructor(options: EventSourceOptions) {
    this.#options = options;
    options.queue.onArrival = () => this.#read();
  }

  #read(): void {
    const { queue, maximumConcurrency, follow } = this.#options;
    while (this.#running < maximumConcurrency) {
      const message = queue.messages.shift();
      if (!message) return;
      this.#running += 1;
      follow(
        this.#handOver(message).finally(() => {
          this.#running -= 1;
          this.#read();
        }),
      );
    }
  }

  async #handOver(message: QueuedMessage): Promise<void> {
    const { queue, check, redrive, retryDelayMilliseconds } = this.#options;
    check('sqs:ReceiveMessage');
    check('sqs:GetQueueAttributes');
    const receives = Number(message.attributes['ApproximateReceiveCount'] ?? 0) + 1;
    const received = {
      ...message,
      attributes: { ...message.attributes, ApproximateReceiveCount: String(receives) },
    };
    const outcome = await this.#options.function.invoke({ Records: [this.#record(received)] });
    if (outcome.ok) return check('sqs:DeleteMessage');
    await sleep(retryDelayMilliseconds * receives);
    if (redrive && receives >= redrive.maximumReceives) redrive.deadLetters.put(message.body);
    else queue.messages.push(received);
  }

  #record({ body, attributes }: QueuedMessage): Record<string, unknown> {
    const { arn } = this.#options.queue;
    return {
      messageId: randomUUID(),
      receiptHandle: randomUUID(),
      body,
      attributes,
      messageAttributes: {},
      eventSource: 'aws:sqs',
      eventSourceARN: arn,
      awsRegion: arn.split(':')[3],
    };
  }
}
