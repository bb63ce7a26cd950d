import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { PostgresServer } from '../postgres-server.ts';

/** No other answer of the server is as long as that. */
const HELD_AFTER = 1024 * 1024;

export interface HeldLine {
  /** What leads an agent over it, to a backup that the server sends. */
  readonly env: { readonly DB_PORT: string; readonly BASE_BACKUP_FILES: 'never' };
  release(): void;
  close(): void;
}

/** A line to a server on which a base backup stands still in its midst until it may go on. */
export async function holdBaseBackups(server: PostgresServer): Promise<HeldLine> {
  const sockets = new Set<Socket>();
  const held = new Set<Socket>();
  let released = false;
  const proxy = createServer((inner) => {
    const outer = connect(server.port, server.host);
    for (const [one, other] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined).once('close', () => other.destroy());
    }
    inner.pipe(outer);
    let bytes = 0;
    const goOn = (): void => void (held.has(outer) || outer.resume());
    outer.on('data', (chunk) => {
      bytes += chunk.length;
      if (!inner.write(chunk)) outer.pause();
      if (released || bytes < HELD_AFTER) return;
      held.add(outer);
      outer.pause();
    });
    inner.on('drain', goOn);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return {
    env: { DB_PORT: String((proxy.address() as AddressInfo).port), BASE_BACKUP_FILES: 'never' },
    release: () => {
      released = true;
      for (const socket of held) socket.resume();
      held.clear();
    },
    close: () => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    },
  };
}
