import { setTimeout as sleep } from 'node:timers/promises';
import { Work } from '../../../scripts/local-aws/deployment/work.ts';
import type { Outcome } from '../../../scripts/local-aws/lambda/function-process.ts';
import { EventSource } from '../../../scripts/local-aws/sqs/event-source.ts';
import { Queue } from '../../../scripts/local-aws/sqs/queue.ts';

const ARN = 'arn:aws:sqs:eu-west-1:111122223333:messages';

interface Read {
  readonly body: string;
  readonly receives: string;
}

/** A queue, read by a function that is at work for a moment and fails at what says so. */
class Ground {
  readonly queue = new Queue('messages', ARN);
  readonly deadLetters = new Queue('dead', `${ARN}-dead`);
  readonly work = new Work();
  readonly reads: Read[] = [];
  readonly asked: string[] = [];
  most = 0;
  denied = '';
  #atOnce = 0;

  constructor() {
    const source = new EventSource({
      queue: this.queue,
      function: { invoke: (event) => this.#invoke(event) },
      maximumConcurrency: 2,
      redrive: { deadLetters: this.deadLetters, maximumReceives: 3 },
      check: (action) => {
        this.asked.push(action);
        if (action === this.denied) throw new Error(`${action} is denied`);
      },
      retryDelayMilliseconds: 1,
      follow: this.work.follow,
    });
    expect(source).toBeDefined();
  }

  async #invoke(event: unknown): Promise<Outcome> {
    const [record] = (event as { Records: { body: string; attributes: Record<string, string> }[] }).Records;
    const { body, attributes } = record!;
    this.reads.push({ body, receives: attributes['ApproximateReceiveCount'] ?? '' });
    this.#atOnce += 1;
    this.most = Math.max(this.most, this.#atOnce);
    await sleep(5);
    this.#atOnce -= 1;
    return body.includes('bad')
      ? { ok: false, error: { errorType: 'Error', errorMessage: 'bad', trace: [] } }
      : { ok: true, result: null };
  }
}

describe('a function that reads a queue', () => {
  it('gets every message, and no more at once than its mapping says', async () => {
    const ground = new Ground();
    for (let index = 0; index < 20; index += 1) ground.queue.put(`message ${index}`);
    await ground.work.untilIdle();
    expect(ground.reads.map(({ body }) => body)).toEqual(
      Array.from({ length: 20 }, (_, index) => `message ${index}`),
    );
    expect(ground.most).toBe(2);
    expect(ground.queue.messages).toEqual([]);
    expect(new Set(ground.asked)).toEqual(
      new Set(['sqs:ReceiveMessage', 'sqs:GetQueueAttributes', 'sqs:DeleteMessage']),
    );
  });

  it('gets what it failed at again, until that goes to the dead letters', async () => {
    const ground = new Ground();
    ground.queue.put('bad');
    ground.queue.put('good');
    await ground.work.untilIdle();
    expect(ground.reads.filter(({ body }) => body === 'bad').map(({ receives }) => receives)).toEqual([
      '1',
      '2',
      '3',
    ]);
    expect(ground.deadLetters.messages.map(({ body }) => body)).toEqual(['bad']);
    expect(ground.queue.messages).toEqual([]);
  });

  it('must be allowed to read', async () => {
    const ground = new Ground();
    ground.denied = 'sqs:ReceiveMessage';
    ground.queue.put('good');
    await ground.work.untilIdle();
    expect(ground.reads).toEqual([]);
    expect(ground.work.defects.join()).toContain('sqs:ReceiveMessage is denied');
  });
});
