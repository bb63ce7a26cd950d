import type { Clock } from '../../ports/host.ts';

/** Returns after so long, or as soon as the signal is aborted. */
export async function pause(clock: Clock, milliseconds: number, signal: AbortSignal): Promise<void> {
  await untilAborted(signal, clock.sleep(milliseconds));
}

/** Settles as `work` does, or returns `undefined` as soon as the signal is aborted; then `work` is left to itself. */
export async function untilAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T | undefined> {
  if (signal.aborted) {
    work.catch(() => undefined);
    return undefined;
  }
  let stop = (): void => undefined;
  const aborted = new Promise<undefined>((resolve) => {
    stop = () => resolve(undefined);
  });
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
    // It may still fail, after nobody waits for it any more.
    work.catch(() => undefined);
  }
}

export async function aborted(signal: AbortSignal): Promise<void> {
  await untilAborted(signal, new Promise<never>(() => undefined));
}

/** Whether `work` ended, well or badly, within so long. */
export async function within(clock: Clock, milliseconds: number, work: Promise<unknown>): Promise<boolean> {
  const ended = work.then(
    () => true,
    () => true,
  );
  return await Promise.race([ended, clock.sleep(milliseconds).then(() => false)]);
}
