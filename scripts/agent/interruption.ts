import { EXIT_STATUS, LifeboatError } from '../../lib/domain/errors.ts';

const NAMES = { SIGINT: 'INTERRUPTED', SIGTERM: 'TERMINATED', SIGHUP: 'TERMINATED' } as const;

/**
 * The first signal asks the command to stop and tidy up; a second one ends the process at once, leaving what a kill -9
 * would leave.
 */
export function watchForInterruption(): AbortSignal {
  const controller = new AbortController();
  for (const [signal, code] of Object.entries(NAMES)) {
    process.on(signal, () => {
      const error = new LifeboatError(code, `Stopped by ${signal}`);
      if (controller.signal.aborted) process.exit(EXIT_STATUS.interrupted);
      controller.abort(error);
    });
  }
  return controller.signal;
}
