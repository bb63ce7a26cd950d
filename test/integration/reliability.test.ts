import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';

const PROGRAM = path.join(import.meta.dirname, '../../scripts/reliability/main.ts');

async function play(...args: readonly string[]): Promise<{ status: number | null; printed: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (printed += chunk.toString()));
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, printed };
}

/** The short forms of what docs/reliability.md has the full figures of. */
describe('npm run reliability', () => {
  it('loses at most ten seconds of commits when everything on the host is killed under load', async () => {
    const { status, printed } = await play('kills', '--short');
    expect(printed).toMatch(/Lost in 2 kills: .* \(promised: at most 10 s\)/);
    expect([status, printed]).toEqual([0, expect.stringContaining('✔ kills: as promised')]);
  });

  it('lets PostgreSQL go on while S3 stands still, says what is at risk, and misses no byte afterwards', async () => {
    const { status, printed } = await play('outage', '--short');
    expect(printed).toMatch(/none waited for longer than .* all was in S3 .* after its end/);
    expect([status, printed]).toEqual([0, expect.stringContaining('✔ outage: as promised')]);
  });

  it('has no hole and no differing object after stream and base backups were killed at random', async () => {
    const { status, printed } = await play('soak', '--short');
    expect(printed).toMatch(/3 kills within .* compared with the server's own/s);
    expect([status, printed]).toEqual([0, expect.stringContaining('✔ soak: as promised')]);
  });

  it('explains itself when asked for what it does not have', async () => {
    const { status, printed } = await play('floods');
    expect(printed).toMatch(/^npm run reliability \[--/);
    expect(status).toBe(2);
  });
});
