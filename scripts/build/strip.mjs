import { execFileSync } from 'node:child_process';
import { copyFileSync, statSync } from 'node:fs';

const STRIPPERS = {
  x64: ['x86_64-linux-gnu-strip', 'llvm-strip', 'strip'],
  arm64: ['aarch64-linux-gnu-strip', 'llvm-strip', 'strip'],
};

/**
 * Copies the program `from` to `to` without its symbols, where a tool for its architecture is at hand: a seventh less
 * to ship, and no use to anyone on a database host.
 * @returns {string} what was done, for people
 */
export function stripBinary(from, to, architecture) {
  for (const tool of STRIPPERS[architecture]) {
    try {
      execFileSync(tool, ['-o', to, from], { stdio: 'pipe' });
      return `runtime stripped with ${tool}: ${megabytes(to)}`;
    } catch {
      // Not installed, or made for another architecture: the next one, or none, does as well.
    }
  }
  copyFileSync(from, to);
  return `runtime not stripped, no tool for ${architecture} here (binutils has one): ${megabytes(to)}`;
}

function megabytes(path) {
  return `${Math.round(statSync(path).size / 1e6)} MB`;
}
