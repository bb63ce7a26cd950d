import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLocalStore } from '../../scripts/agent/host/local-store.ts';
import { describeObjectStore } from './object-store.contract.ts';

describeObjectStore(
  'The local folder',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lifeboat-store-'));
    return {
      store: openLocalStore(join(folder, 'backups')),
      close: () => rm(folder, { recursive: true }),
    };
  },
  {
    keepsMetadata: false,
    reportsChecksums: false,
    reportsEncryption: false,
    keepsTags: false,
    completesConditionally: true,
  },
);
