/** Never resolves; rejects with the signal's reason: to be raced against work that does not know the signal. */
export function rejectOnAbort(signal: AbortSignal): Promise<never> {
  const aborted = new Promise<never>((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
  // Nobody may be racing against it when it comes.
  aborted.catch(() => undefined);
  return aborted;
}

/** A server or bucket that does not answer must not keep Ctrl-C waiting. @throws what the work throws, or the signal's reason */
export async function untilInterrupted<Result>(
  interrupted: AbortSignal,
  work: Promise<Result>,
): Promise<Result> {
  const result = await Promise.race([work, rejectOnAbort(interrupted)]);
  // An interruption is no trouble of S3's that a local backup could make good.
  interrupted.throwIfAborted();
  return result;
}
