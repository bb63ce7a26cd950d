/** Smaller buffers may share their memory with others; see Buffer.poolSize. */
const OWN_MEMORY = 1024 * 1024;

/** Gives a large buffer's memory back at once; left to the garbage collector, hundreds of megabytes would pile up. */
export function releaseMemory({ buffer }: Buffer): void {
  if (hasOwnMemory(buffer)) buffer.transfer(0);
}

/** Whether nothing else lies in the memory of a buffer. */
export function hasOwnMemory(buffer: ArrayBufferLike): buffer is ArrayBuffer {
  return buffer instanceof ArrayBuffer && buffer.byteLength >= OWN_MEMORY;
}
