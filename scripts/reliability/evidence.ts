/** What a client was told against what a recovered cluster has. */

export interface ToldCommit {
  readonly client: number;
  /** Of its transactions, from 1 on. */
  readonly n: number;
  /** When it was told, in ms since 1970. */
  readonly at: number;
}

/** A client's rows in a recovered cluster. */
export interface RecoveredClient {
  readonly client: number;
  readonly rows: number;
  readonly last: number;
}

export interface Loss {
  readonly told: number;
  /** Commits that a client was told of and that are not there. */
  readonly lost: number;
  /** From the first of them to the kill: everything since then may be gone. 0 when none is. */
  readonly seconds: number;
  /** What no loss of the last seconds can explain. */
  readonly problems: readonly string[];
}

export function judgeLoss(
  told: readonly ToldCommit[],
  recovered: readonly RecoveredClient[],
  killedAt: number,
): Loss {
  const lasts = new Map(recovered.map(({ client, last }) => [client, last]));
  const lost = told.filter(({ client, n }) => n > (lasts.get(client) ?? 0));
  const first = lost.reduce((earliest, { at }) => Math.min(earliest, at), Infinity);
  return {
    told: told.length,
    lost: lost.length,
    seconds: lost.length === 0 ? 0 : Math.max(0, killedAt - first) / 1000,
    problems: recovered.flatMap((client) => findProblems(client, told)),
  };
}

function findProblems({ client, rows, last }: RecoveredClient, told: readonly ToldCommit[]): string[] {
  const known = told.reduce((most, each) => (each.client === client ? Math.max(most, each.n) : most), 0);
  const problems: string[] = [];
  if (rows !== last)
    problems.push(
      `client ${client} has ${rows} rows, and the last is number ${last}: not all before it are there`,
    );
  // The server may have committed one more whose answer the client never got.
  if (last > known + 1)
    problems.push(`client ${client} has ${last} rows, and asked for ${known + 1} at most`);
  return problems;
}

/** Of a row of numbers. @throws RangeError of none */
export function distribution(values: readonly number[]): { least: number; median: number; most: number } {
  const sorted = values.toSorted((one, other) => one - other);
  const [least, most] = [sorted[0], sorted.at(-1)];
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  if (least === undefined || most === undefined || upper === undefined || lower === undefined)
    throw new RangeError('no values');
  return { least, median: (lower + upper) / 2, most };
}
