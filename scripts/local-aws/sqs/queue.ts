/** A queue, as far as it is somebody's dead-letter queue: what lies in it, and how much. */
export class Queue {
  readonly name: string;
  readonly arn: string;
  readonly url: string;
  readonly messages: QueuedMessage[] = [];

  constructor(name: string, arn: string) {
    this.name = name;
    this.arn = arn;
    const [, , , region, account] = arn.split(':');
    this.url = `https://sqs.${region}.amazonaws.com/${account}/${name}`;
  }

  put(body: unknown, attributes: Readonly<Record<string, string>> = {}): void {
    this.messages.push({ body: typeof body === 'string' ? body : JSON.stringify(body), attributes });
  }
}

interface QueuedMessage {
  readonly body: string;
  readonly attributes: Readonly<Record<string, string>>;
}
