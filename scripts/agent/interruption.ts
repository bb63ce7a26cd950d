import { EXIT_STATUS, LifeboatError } from '../../lib/domain/errors.ts';

const NAMES = { SIGINT: 'INTERRUPTED', SIGTERM: 'TERMINATED', SIGHUP: 'TERMINATED' } as const;

/** One Ctrl-C may arrive twice, from the terminal and from a launcher that passes it on; a person needs longer. */
const SAME_SIGNAL_MS = 1000;

/**
 * The first signal asks the command to stop and tidy up; a second one ends the process at once, leaving what a kill -9
 * would leave.
 */
export function watchForInterruption(): AbortSignal {
  const controller = new AbortController();
  let firstAt = 0;
  for (const [signal, code] of Object.entries(NAMES)) {
    process.on(signal, () => {
      if (!controller.signal.aborted) {
        firstAt = performance.now();
        controller.abort(new LifeboatError(code, `Stopped by ${signal}`));
      } else if (performance.now() - firstAt > SAME_SIGNAL_MS) process.exit(EXIT_STATUS.interrupted);
    });
  }
  return controller.signal;
}
