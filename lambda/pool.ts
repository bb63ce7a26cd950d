/**
 * Runs `work` for every item, `width` at a time, and ends when all have ended. `work` must not throw: one item's failure
 * is no reason to leave the others undone, so it says in its answer what went wrong.
 */
export async function forEachOf<Item, Answer>(
  items: readonly Item[],
  width: number,
  work: (item: Item) => Promise<Answer>,
): Promise<Answer[]> {
  const answers: Answer[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next;
      next += 1;
      answers[index] = await work(items[index]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  return answers;
}
