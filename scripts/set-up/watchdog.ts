import { spawn } from 'node:child_process';
import { once } from 'node:events';

/** Ends a server and removes its folder when the process that started it is gone, however it went. */
export interface Watchdog {
  /** The server's process now; `undefined` while there is none. */
  watch(pid: number | undefined): void;
  /** Dismisses the watchdog: whatever it watches now is ended and the folder removed. */
  end(): Promise<void>;
}

/**
 * Reads process ids, one a line, and acts on the last one at end of file: the kernel closes our end of the pipe even
 * after kill -9. SIGQUIT lets a postmaster end its own children and give back its shared memory.
 */
const SCRIPT = `
pid=0
while read -r line; do pid=$line; done
if [ "$pid" -gt 1 ] && kill -QUIT "$pid" 2>/dev/null; then
  i=0
  while kill -0 "$pid" 2>/dev/null && [ "$i" -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
  kill -KILL "$pid" 2>/dev/null
fi
rm -rf -- "$1"
`;

/** `folder` is removed with all that is in it. */
export function startWatchdog(folder: string): Watchdog {
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'lifeboat-watchdog', folder], {
    cwd: '/',
    stdio: ['pipe', 'ignore', 'ignore'],
    // Its own session, so that Ctrl-C in our terminal does not end it before it has done its work.
    detached: true,
  });
  const gone = once(child, 'exit');
  child.unref();
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a pipe is a net.Socket, typed as a Writable
  (child.stdin as unknown as { unref(): void }).unref();
  child.stdin.on('error', () => undefined);
  return {
    watch: (pid) => void child.stdin.write(`${pid ?? 0}\n`),
    end: async () => {
      child.ref();
      child.stdin.end();
      await gone;
    },
  };
}
