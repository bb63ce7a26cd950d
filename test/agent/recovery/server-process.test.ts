import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerProcess } from '../../../scripts/agent/recovery/server-process.ts';

/** Stands for postgres: its last checkpoint goes on until a file is there, with the status that it ends with. */
const POSTGRES = `#!/bin/sh
trap 'while [ ! -f checkpointed ]; do sleep 0.02; done; read -r status < checkpointed; exit "$status"' INT
echo started
while :; do sleep 0.02; done
`;

describe('The recovered server', () => {
  let folder: string;
  let server: ServerProcess;

  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-server-'));
    writeFileSync(path.join(folder, 'postgres'), POSTGRES, { mode: 0o755 });
    server = await ServerProcess.start(
      { folder, versionNumber: 150_000, canCombine: false },
      folder,
      undefined,
    );
    while (!server.said.includes('started')) {
      await server.listen();
      await sleep(10);
    }
  });
  afterEach(async () => {
    endCheckpoint(0);
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const endCheckpoint = (status: number): void => {
    writeFileSync(path.join(folder, 'status'), `${status}\n`);
    renameSync(path.join(folder, 'status'), path.join(folder, 'checkpointed'));
  };

  it('is shut down when its last checkpoint is over, not before', async () => {
    const down = server.shutDown(new AbortController().signal);
    await expect(Promise.race([down, sleep(200, 'still at it')])).resolves.toBe('still at it');
    expect(server.exited).toBe(false);
    endCheckpoint(0);
    await down;
    expect(server.exited).toBe(true);
  });

  it('is not taken for shut down when it ended otherwise', async () => {
    endCheckpoint(1);
    await expect(server.shutDown(new AbortController().signal)).rejects.toMatchObject({
      code: 'RESTORE_FAILED',
    });
  });

  it('is left to whoever clears up when the shutdown is interrupted', async () => {
    const interruption = new AbortController();
    const down = server.shutDown(interruption.signal);
    const reason = new Error('interrupted');
    interruption.abort(reason);
    await expect(down).rejects.toBe(reason);
    expect(server.exited).toBe(false);
  });
});
