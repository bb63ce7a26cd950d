/** The program of the threads of PackingThreads: packs one stretch of WAL after the other. */
import { parentPort } from 'node:worker_threads';
import { hasOwnMemory } from '../data-path/release-memory.ts';
import { packWalNow } from './pack-wal.ts';

parentPort?.on('message', (bytes: Uint8Array) => {
  const packed = packWalNow(bytes);
  const { buffer } = packed.body;
  parentPort?.postMessage(packed, hasOwnMemory(buffer) ? [buffer] : []);
});
