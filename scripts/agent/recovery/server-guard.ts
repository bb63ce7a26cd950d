import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';
import type { FileOwner } from '../data-path/tar/extraction-folder.ts';

/** Ends a server when its agent is gone, however that ended; told so, it leaves the server alone. */
export interface ServerGuard {
  /** The server may go on without the agent, or has ended. */
  dismiss(): void;
}

/**
 * Waits for the end of its standard input, which the kernel closes with the agent. The number may be another process' by
 * then, so the server's own file is looked into. A word ends it well: `dismiss`.
 */
const SCRIPT = `read -r word && exit 0
read -r found < "$2/postmaster.pid" || exit 0
[ "$found" = "$1" ] && kill -QUIT "$1"`;

/** Another process than ours, of a session of its own: what ends us must not end it. */
export function guardServer(pid: number, dataDir: string, owner: FileOwner | undefined): ServerGuard {
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'lifeboat-guard', String(pid), dataDir], {
    cwd: '/',
    env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    ...owner,
  });
  // Without a guard a recovery is as good as ever, as long as nobody kills it.
  child.on('error', () => undefined);
  child.stdin.on('error', () => undefined);
  child.unref();
  (child.stdin as Socket).unref();
  let dismissed = false;
  return {
    dismiss: () => {
      if (dismissed) return;
      dismissed = true;
      child.stdin.end('leave\n');
    },
  };
}
