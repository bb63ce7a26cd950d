import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';

const LOWEST = 15_000;
const ATTEMPTS = 50;

/**
 * A TCP port on 127.0.0.1 that nobody listened on a moment ago. It is none of those that the kernel deals out by itself: a
 * server that is started on it some seconds later, or again, finds it free although others connect and listen meanwhile.
 */
export async function freePort(): Promise<number> {
  const end = firstDealtOut();
  if (end <= LOWEST) return await listened(0);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const port = await listened(randomInt(LOWEST, end)).catch(() => undefined);
    if (port !== undefined) return port;
  }
  return await listened(0);
}

/** @throws Error when somebody has it */
async function listened(wanted: number): Promise<number> {
  const probe = createServer();
  probe.listen(wanted, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}

/** Of the ports for connections and for whoever does not care; Linux says where they begin. */
function firstDealtOut(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split(/\s+/)[0]);
  } catch {
    return 0;
  }
}
