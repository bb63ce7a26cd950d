/** The program of the threads of PackingThreads: packs one stretch of WAL after the other. */
import { parentPort } from 'node:worker_threads';
import { hasOwnMemory, releaseMemory } from '../data-path/release-memory.ts';
import { packWalNow } from './pack-wal.ts';

parentPort?.on('message', (bytes: Uint8Array) => {
  const { rawSha256, body } = packWalNow(bytes);
  const snug = handOver(body);
  parentPort?.postMessage({ rawSha256, body: snug }, [snug.buffer]);
});

/** The body as it is, or a copy where most of its memory, which is as large as what was packed, would go along for nothing. */
function handOver(body: Buffer): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, length } = body;
  if (hasOwnMemory(buffer) && length * 2 >= buffer.byteLength) {
    return new Uint8Array(buffer, byteOffset, length);
  }
  const copy = new Uint8Array(body);
  releaseMemory(body);
  return copy;
}
