import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const DEMO = path.join(import.meta.dirname, '../../scripts/demo/main.ts');

/** Starts the demo on a small database. */
function startDemo(...args: string[]): { child: ChildProcess; printed: () => string } {
  const child = spawn(process.execPath, [DEMO, '--scale', '0.02', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { child, printed: () => text };
}

async function untilPrinted({ child, printed }: ReturnType<typeof startDemo>, what: RegExp): Promise<void> {
  while (!what.test(printed())) {
    if (child.exitCode !== null) throw new Error(`the demo ended before it printed ${what}:\n${printed()}`);
    await sleep(20);
  }
}

function folderOf(printed: string): string {
  return /files in (\S+)/.exec(printed)?.[1] ?? 'no folder was named';
}

describe('npm run demo', () => {
  it('backs up, wrecks and restores a database as it was, plays the night of the stack, and with --keep stays until Ctrl-C', async () => {
    const demo = startDemo('--keep');
    await untilPrinted(demo, /Ctrl-C ends it/);
    const folder = folderOf(demo.printed());
    expect(demo.printed()).toMatch(/export DB_PORT=\d+\n/);
    expect(existsSync(folder)).toBe(true);
    demo.child.kill('SIGINT');
    const [status] = (await once(demo.child, 'close')) as [number];
    const printed = demo.printed();
    expect(printed).toContain('✅ Backup completed successfully');
    expect(printed).toContain('🔄 HostMaster DB Backup SUCCESS');
    expect(printed).toMatch(
      /✔ in the recovered cluster: 40 rows, checksum (\S+)\n[^]*✔ back in \S+: 40 rows, checksum \1;/,
    );
    expect(printed).toMatch(/✘ public\.servers: gone/);
    expect(printed).toMatch(/✔ hostmaster_staging: every row of 28 tables and materialized views is back/);
    expect(printed).toMatch(/✔ hostmaster_prod: every row of 28 tables and materialized views is back/);
    expect(printed).toMatch(/✔ the wrecked one is kept as hostmaster_prod_before_/);
    expect(printed).toContain('✔ Everything came back exactly as it was.');
    expect(printed).toMatch(/EventBridge {2}the schedule of \d{4}-\d\d-\d\dT02:00:00Z → StartRun/);
    expect(printed).toMatch(/✔ hostmaster_staging: all [\d,]+ rows are there again/);
    expect(printed).toContain('🚨 ALARM A run failed: hostmaster');
    expect(printed).toMatch(/✔ \d+ calls of \d+ roles and services were allowed by the synthesized policies/);
    expect(printed).not.toContain('✘ one message');
    expect(status).toBe(0);
    expect(existsSync(folder)).toBe(false);
  });

  it('removes everything when it is interrupted midway, while two agents and a recovered server run', async () => {
    const demo = startDemo();
    await untilPrinted(demo, /Replaying WAL/);
    demo.child.kill('SIGINT');
    const [status] = (await once(demo.child, 'close')) as [number];
    expect(status).toBe(130);
    expect(demo.printed()).toContain('Interrupted after');
    expect(existsSync(folderOf(demo.printed()))).toBe(false);
  });

  it('removes everything when it is interrupted in the night', async () => {
    const demo = startDemo();
    await untilPrinted(demo, /02:00: a night\n[\s\S]*InProgress/);
    demo.child.kill('SIGTERM');
    const [status] = (await once(demo.child, 'close')) as [number];
    expect(status).toBe(143);
    expect(existsSync(folderOf(demo.printed()))).toBe(false);
  });

  it('explains itself when asked for what it does not have', async () => {
    const demo = startDemo('--faster');
    const [status] = (await once(demo.child, 'close')) as [number];
    expect(demo.printed()).toMatch(/^npm run demo/);
    expect(status).toBe(2);
  });
});
