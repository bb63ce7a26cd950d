import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { BaseVolume } from '../../../../lib/domain/base/base-manifest.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { makeBase, type BaseRun } from '../../../../scripts/agent/commands/base-backup/base-backup-making.ts';
import type { BaseBackupRequest } from '../../../../scripts/agent/commands/base-backup/base-backup-request.ts';
import { openLocalStore } from '../../../../scripts/agent/host/local-store.ts';
import type { BaseBackupPorts, BaseWriterOptions } from '../../../../scripts/agent/ports/base-backup.ts';

describe('Making a base backup in BACKUP_DIR', () => {
  it('reads no file any more once it has failed', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-making-'));
    const nothing = (): void => undefined;
    const reading = Promise.withResolvers<void>();
    const read: string[] = [];
    let under = false;
    const replication = {
      createSlot: () => Promise.resolve(),
      identify: () => Promise.resolve({ systemIdentifier: '7' }),
      baseBackup: () => Promise.resolve({ tablespaces: [] }),
      close: () => Promise.resolve(),
    };
    const ports = {
      server: { replicate: () => Promise.resolve(replication) },
      writer: {
        write: async (_stream: unknown, { onVolume }: BaseWriterOptions) => {
          for (const key of ['base-00001.tar.zst', 'base-00002.tar.zst'])
            onVolume!({ key, size: 1, crc32: 'AAAAAA==' } as BaseVolume);
          await reading.promise;
          throw new LifeboatError('DB_CONNECT', 'the server went away');
        },
      },
      digests: {
        checksum: async (_store: unknown, key: string, { interrupted }: { interrupted: AbortSignal }) => {
          read.push(path.basename(key));
          under = true;
          reading.resolve();
          await new Promise((resolve) => interrupted.addEventListener('abort', resolve));
          await new Promise((resolve) => setImmediate(resolve));
          under = false;
          throw interrupted.reason;
        },
      },
      files: { open: async () => ({ reason: 'the server is on another host', mendable: false }) },
      log: { info: nothing, warn: nothing },
      progress: { start: nothing, stop: nothing, update: nothing },
      interrupted: new AbortController().signal,
    } as unknown as BaseBackupPorts;
    const run = {
      label: 'hostmaster_base_20260117_020000',
      ready: {
        store: openLocalStore(folder),
        facts: { systemIdentifier: '7', walSegmentSize: 16 * 1024 * 1024 },
        increment: { type: 'full' },
      },
    } as unknown as BaseRun;
    const request = { app: 'hostmaster', runId: 'r' } as BaseBackupRequest;
    try {
      await expect(makeBase(ports, request, run)).rejects.toThrow('the server went away');
      expect([read, under]).toEqual([['base-00001.tar.zst'], false]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
