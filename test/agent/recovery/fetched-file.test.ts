import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { ObjectStore } from '../../../scripts/agent/ports/store.ts';
import { fetchFile } from '../../../scripts/agent/recovery/fetched-file.ts';

const MIB = 1024 * 1024;
const bytes = randomBytes(17 * MIB + 5);
const sha256 = createHash('sha256').update(bytes).digest('hex');

describe('A file of a base backup', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-fetched-'));
  const file = path.join(folder, 'backup_manifest');
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  let largest = 0;
  const store = {
    urlOf: (key: string) => `s3://bucket/${key}`,
    read: (_key: string, range: { offset: number; length: number }) => {
      largest = Math.max(largest, range.length);
      return Promise.resolve(bytes.subarray(range.offset, range.offset + range.length));
    },
  } as unknown as ObjectStore;
  const stored = { store, key: 'base/backup_manifest', size: bytes.length, sha256 };

  it('is fetched a few megabytes at a time, and written as it is', async () => {
    await fetchFile(stored, file, undefined);
    expect(readFileSync(file).equals(bytes)).toBe(true);
    expect(largest).toBe(8 * MIB);
  });

  it('is refused when it is another than the manifest says', async () => {
    await expect(fetchFile({ ...stored, sha256: '0'.repeat(64) }, file, undefined)).rejects.toMatchObject({
      code: 'CORRUPT',
      message: `s3://bucket/base/backup_manifest has the SHA-256 ${sha256}; the manifest says ${'0'.repeat(64)}`,
    });
  });
});
