import { existsSync } from 'node:fs';
import path from 'node:path';

/** Debian's: the emulator, and the libraries that a dynamic program for arm64 needs (with libc6 and libgcc). */
export const QEMU_PACKAGES = ['qemu-user', 'libstdc++6-arm64-cross'] as const;

const LIBRARIES = '/usr/aarch64-linux-gnu';

/**
 * What to put before a program for arm64 so that it runs on this machine: nothing where it runs by itself; `undefined`
 * when what is needed is not installed. Programs of this machine that it starts run as they are.
 */
export function arm64Emulator(): readonly string[] | undefined {
  if (process.arch === 'arm64') return [];
  const emulator = (process.env['PATH'] ?? '')
    .split(path.delimiter)
    .flatMap((folder) => ['qemu-aarch64', 'qemu-aarch64-static'].map((name) => path.join(folder, name)))
    .find((program) => existsSync(program));
  const complete = existsSync(path.join(LIBRARIES, 'lib', 'libstdc++.so.6'));
  return emulator !== undefined && complete ? [emulator, '-L', LIBRARIES] : undefined;
}
