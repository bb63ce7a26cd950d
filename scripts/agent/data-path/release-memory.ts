/** Smaller buffers may share their memory with others; see Buffer.poolSize. */
const OWN_MEMORY = 1024 * 1024;

/** Gives a large buffer's memory back at once; left to the garbage collector, hundreds of megabytes would pile up. */
export function releaseMemory({ buffer }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength >= OWN_MEMORY) buffer.transfer(0);
}
