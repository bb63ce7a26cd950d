import { createHash } from 'node:crypto';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import { encodeCrc32 } from '../../../../lib/domain/crc32.ts';
import { Rereading } from '../../../../scripts/agent/commands/base-backup/base-backup-rereading.ts';
import { digestReader } from '../../../../scripts/agent/data-path/digest.ts';
import { openLocalStore } from '../../../../scripts/agent/host/local-store.ts';

describe('Reading a base backup’s files again', () => {
  const BYTES = createHash('sha256').update('seed').digest();
  let folder: string;
  let rereading: Rereading;

  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-rereading-'));
    const store = openLocalStore(folder);
    for (const key of ['one', 'two']) await store.putOnce(key, BYTES);
    const ports = { digests: digestReader, interrupted: new AbortController().signal };
    rereading = new Rereading(ports, store, (name) => name);
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  const written = (key: string) => ({ key, size: BYTES.length, crc32: encodeCrc32(crc32(BYTES)) });

  it('is content with files that are as they were written', async () => {
    for (const key of ['one', 'two']) rereading.add(written(key));
    await expect(rereading.finish()).resolves.toBeUndefined();
  });

  it('finds a flipped bit, whatever comes after it', async () => {
    const file = path.join(folder, 'one');
    const bytes = readFileSync(file);
    bytes[7]! ^= 1;
    writeFileSync(file, bytes);
    for (const key of ['one', 'two']) rereading.add(written(key));
    await expect(rereading.finish()).rejects.toMatchObject({
      code: 'CORRUPT',
      message: expect.stringContaining(`${file} reads back differently`) as string,
    });
  });

  it('finds a file that is shorter, or gone', async () => {
    writeFileSync(path.join(folder, 'one'), BYTES.subarray(1));
    rereading.add(written('one'));
    await expect(rereading.finish()).rejects.toMatchObject({ code: 'CORRUPT' });
    rereading.add(written('two'));
    appendFileSync(path.join(folder, 'two'), 'x');
    await expect(rereading.finish()).rejects.toMatchObject({ code: 'CORRUPT' });
  });
});
