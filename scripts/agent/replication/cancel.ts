import { once } from 'node:events';
import { connect } from 'node:net';
import type { Client } from 'pg';
import { cancelMessage } from './protocol.ts';

const TIMEOUT_MS = 3_000;

/**
 * Cancels what a connection is at, over one of its own. Without it a server that waits for a checkpoint would notice only after it that
 * nobody listens any more. Never throws: a server that cannot be reached has nothing to cancel, or notices the broken connection by itself.
 */
export async function cancel(client: Client): Promise<void> {
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
  const { host, port } = client;
  const socket = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect({ host, port });
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
  socket.on('error', () => undefined);
  socket.end(cancelMessage(processID, secretKey));
  socket.resume();
  await once(socket, 'close').catch(() => undefined);
}
