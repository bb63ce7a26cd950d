const MOST_NAMED = 5;

/**
 * Names that somebody who typed `wanted` may have meant, the nearest first; some of all of them where none is near.
 * @param names of what there is
 */
export function nearNames(wanted: string, names: readonly string[]): string[] {
  const folded = wanted.toLowerCase();
  const furthest = Math.max(2, Math.floor(folded.length / 3));
  const measured = names
    .map((name) => ({ name, distance: distanceOf(folded, name.toLowerCase()) }))
    .toSorted((one, other) => one.distance - other.distance || (one.name < other.name ? -1 : 1));
  const near = measured.filter(({ distance }) => distance <= furthest);
  return (near.length > 0 ? near : measured).slice(0, MOST_NAMED).map(({ name }) => name);
}

/** Letters to insert, remove or exchange; a name that holds the other one is as near as one letter. */
function distanceOf(one: string, other: string): number {
  if (one !== other && one !== '' && other.includes(one)) return 1;
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let index = 0; index < one.length; index += 1) {
    const next = [index + 1];
    for (let place = 0; place < other.length; place += 1) {
      const exchanged = row[place]! + (one[index] === other[place] ? 0 : 1);
      next.push(Math.min(exchanged, row[place + 1]! + 1, next[place]! + 1));
    }
    row = next;
  }
  return row.at(-1)!;
}
