import type { WalFile } from '../../../lib/domain/wal/archive.ts';
import { segmentName } from '../../../lib/domain/wal/segment.ts';
import type { WalReader } from '../../../scripts/agent/ports/wal.ts';
import { openWalSearch } from '../../../scripts/agent/recovery/wal-search.ts';

const MIB = 1024 * 1024;

describe('The search for a target in the WAL', () => {
  it.each([
    [MIB, 4],
    [64 * MIB, 2],
  ])('holds few segments of %d bytes in memory, however many there are', async (size, most) => {
    const files = Array.from({ length: 12 }, (_none, index): WalFile => {
      const start = BigInt(index * size);
      const name = segmentName(1, start, size);
      const file = { key: name, size: 1, modifiedAt: new Date(0) };
      return { name, timeline: 1, start, end: start + BigInt(size), kind: 'segment', files: [file] };
    });
    const read: Buffer[] = [];
    let highest = 0;
    const held = (): number => read.filter(({ buffer }) => !(buffer as ArrayBuffer).detached).length;
    const reader = {
      read: () => {
        read.push(Buffer.alloc(size));
        highest = Math.max(highest, held());
        return Promise.resolve(read.at(-1)!);
      },
    } as unknown as WalReader;
    const search = openWalSearch(reader, new AbortController().signal);
    const path = [{ timeline: 1, from: 0n, to: undefined }];
    const target = { kind: 'name', name: 'nowhere' } as const;
    expect(await search.find({ target, files, path, segmentSize: size, firstOnly: false })).toEqual([]);
    expect(read).toHaveLength(12);
    expect(held()).toBe(0);
    expect(highest).toBeLessThanOrEqual(most);
  });
});
