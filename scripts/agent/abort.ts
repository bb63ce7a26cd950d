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
