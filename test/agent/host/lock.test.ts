import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lockFile } from '../../../scripts/agent/host/lock.ts';

const folder = mkdtempSync(join(tmpdir(), 'lifeboat-lock-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('A lock', () => {
  it('is refused to a second holder, who is told who has it, and free once released', async () => {
    const path = join(folder, 'a.lock');
    const held = await lockFile(path, 'backup, run 1');
    await expect(lockFile(path, 'backup, run 2')).rejects.toMatchObject({
      code: 'BUSY',
      message: expect.stringContaining('backup, run 1'),
    });
    await held.release();
    await (await lockFile(path, 'backup, run 3')).release();
  });

  it('dies with its holder, however that ends', async () => {
    const path = join(folder, 'b.lock');
    const module = join(import.meta.dirname, '../../../scripts/agent/host/lock.ts');
    const program = `import { lockFile } from ${JSON.stringify(module)}; await lockFile(${JSON.stringify(path)}, 'doomed'); console.log('held'); setInterval(() => {}, 1000);`;
    const holder = spawn(process.execPath, ['--input-type=module', '-e', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(holder.stdout, 'data');
    await expect(lockFile(path, 'next')).rejects.toMatchObject({
      message: expect.stringContaining('doomed'),
    });
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    await (await lockFile(path, 'next')).release();
  });
});
