import { freemem } from 'node:os';

/** Bytes that this process and what it starts may take now: of the machine, and of its control group where that has a limit. */
export function freeMemory(): number {
  return Math.min(freemem(), process.availableMemory());
}
