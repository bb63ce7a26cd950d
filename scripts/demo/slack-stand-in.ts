import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Receives what would go to a Slack channel. */
export interface SlackStandIn {
  readonly webhookUrl: string;
  /** The texts received since the last call, oldest first. */
  takeMessages(): string[];
  close(): void;
}

export async function startSlackStandIn(): Promise<SlackStandIn> {
  let messages: string[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      messages.push(textOf(Buffer.concat(chunks).toString('utf8')));
      response.end('ok');
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    webhookUrl: `http://127.0.0.1:${port}/services/T00000000/B00000000/localstandin`,
    takeMessages: () => {
      const taken = messages;
      messages = [];
      return taken;
    },
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function textOf(body: string): string {
  const { text } = JSON.parse(body) as { text?: string };
  return text ?? body;
}
