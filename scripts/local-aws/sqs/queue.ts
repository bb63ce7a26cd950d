/** A queue: what lies in it, and who is told that something came. */
export class Queue {
  readonly name: string;
  readonly arn: string;
  readonly url: string;
  readonly messages: QueuedMessage[] = [];
  /** Somebody who reads it. */
  onArrival: () => void = () => undefined;

  constructor(name: string, arn: string) {
    this.name = name;
    this.arn = arn;
    const [, , , region, account] = arn.split(':');
    this.url = `https://sqs.${region}.amazonaws.com/${account}/${name}`;
  }

  put(body: unknown, attributes: Readonly<Record<string, string>> = {}): void {
    this.messages.push({ body: typeof body === 'string' ? body : JSON.stringify(body), attributes });
    this.onArrival();
  }
}

export interface QueuedMessage {
  readonly body: string;
  readonly attributes: Readonly<Record<string, string>>;
}
