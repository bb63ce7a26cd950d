import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { walKey } from '../../../../lib/domain/wal/keys.ts';
import { verifyWal, type WalVerifyPorts } from '../../../../scripts/agent/commands/wal/wal-verify.ts';
import type { Verdicts } from '../../../../scripts/agent/catalog/verdicts.ts';
import { openLocalStore } from '../../../../scripts/agent/host/local-store.ts';
import { nameOf, SERIES } from '../../../domain/wal/wal-bucket.ts';

const MIB = 1024 * 1024;
const KEYS = [1, 2, 3].map((number) => walKey(SERIES, 1, nameOf(1, number)));

describe('What wal verify calls damaged', () => {
  let folder: string;
  let settled: Parameters<Verdicts['settle']>[0][];
  let told: string[];
  /** Bytes that were read and not given back, and the most there ever were. */
  let held: number;
  let most: number;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-wal-verify-'));
    [settled, told, held, most] = [[], [], 0, 0];
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  /** @param failures for each segment what reading it throws, the first time and later */
  async function verifySegments(failures: readonly (readonly string[])[], keys = KEYS): Promise<string[]> {
    const [backups, state] = ['backups', 'state'].map((name) => openLocalStore(path.join(folder, name)));
    for (const key of keys) await backups!.putOnce(key, Buffer.from('WAL'));
    const left = new Map(keys.map((key, index) => [key, [...(failures[index] ?? [])]]));
    const nothing = (): void => undefined;
    const ports = {
      stores: { backups, state },
      reader: {
        read: async (key: string) => {
          const code = left.get(key)!.shift();
          await Promise.resolve();
          if (code !== undefined) throw new LifeboatError(code as 'CORRUPT', `${key} ${code}`);
          const bytes = Buffer.alloc(16 * MIB);
          held += bytes.length;
          most = Math.max(most, held);
          return bytes;
        },
        release: (bytes: Buffer) => void (held -= bytes.length),
        check: () => ({ push: nothing, records: 0 }),
      },
      verdicts: {
        settle: async (verified: (typeof settled)[number]) =>
          void settled.push(await Promise.resolve(verified)),
      },
      clock: { monotonic: () => 0 },
      log: { warn: (line: string) => void told.push(line) },
      progress: { start: nothing, stop: nothing, update: nothing },
      interrupted: new AbortController().signal,
    } as unknown as WalVerifyPorts;
    const { clusters } = await verifyWal(ports, { app: SERIES.app, runId: 'r' });
    return clusters.flatMap(({ problems }) => problems);
  }

  it('is what is so when it is read once more, too', async () => {
    expect(await verifySegments([['CORRUPT'], ['CORRUPT', 'CORRUPT']])).toEqual([`${KEYS[1]} CORRUPT`]);
    expect(told).toEqual([`${KEYS[1]} CORRUPT`]);
    expect(settled).toHaveLength(1);
    expect([...settled[0]!.damaged.keys()]).toEqual([nameOf(1, 2)]);
    expect([1, 2, 3, 4].map((number) => settled[0]!.looked(nameOf(1, number)))).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });

  it('is told of the first segment too, and of what comes behind, where there is no base backup', async () => {
    const corrupt = ['CORRUPT', 'CORRUPT'];
    expect(await verifySegments([corrupt, [], corrupt])).toEqual([
      `${KEYS[0]} CORRUPT`,
      `${KEYS[2]} CORRUPT`,
    ]);
    expect([...settled[0]!.damaged.keys()]).toEqual([nameOf(1, 1), nameOf(1, 3)]);
  });

  it('is looked for in four segments’ memory, however many there are', async () => {
    const keys = Array.from({ length: 12 }, (_, number) => walKey(SERIES, 1, nameOf(1, number + 1)));
    expect(await verifySegments([], keys)).toEqual([]);
    expect([held, most <= 64 * MIB]).toEqual([0, true]);
  });

  it('stays said where S3 fails before the end, and what was not read is neither', async () => {
    const corrupt = ['CORRUPT', 'CORRUPT'];
    await expect(verifySegments([corrupt, [], ['S3_UNAVAILABLE']])).rejects.toThrow(/S3_UNAVAILABLE/);
    expect(told).toEqual([`${KEYS[0]} CORRUPT`]);
    expect(settled).toHaveLength(1);
    expect([...settled[0]!.damaged.keys()]).toEqual([nameOf(1, 1)]);
    expect([1, 2, 3].map((number) => settled[0]!.looked(nameOf(1, number)))).toEqual([false, false, false]);
  });

  it('is nothing, and nothing is written down, where S3 fails at once', async () => {
    await expect(verifySegments([['S3_DENIED']])).rejects.toThrow(/S3_DENIED/);
    expect(settled).toEqual([]);
  });
});
