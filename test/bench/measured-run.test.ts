import { tmpdir } from 'node:os';
import { measure } from '../../scripts/bench/measured-run.ts';

const NODE = process.execPath;
const KEEPS_BUSY = 'const end = Date.now() + 400; while (Date.now() < end);';

function run(program: string, args: string[], signal = new AbortController().signal) {
  return measure({ program, args, env: {}, cwd: tmpdir() }, { signal, agent: true });
}

describe('a measured run', () => {
  it('counts the CPU time of the command and, apart, of its own process and its memory', async () => {
    const child = `require('child_process').execFileSync(process.execPath, ['-e', ${JSON.stringify(KEEPS_BUSY)}])`;
    const program = `const held = Buffer.alloc(200e6, 1); ${child}; setTimeout(() => held, 100)`;
    const { seconds, cpuSeconds, agent } = await run(NODE, ['-e', program]);
    expect(seconds).toBeGreaterThan(0.4);
    expect(cpuSeconds).toBeGreaterThan(agent!.cpuSeconds);
    expect(agent!.peakBytes).toBeGreaterThan(200e6);
  });

  it('of a command that fails is an error with its status and its last words', async () => {
    await expect(run('/bin/sh', ['-c', 'echo broken >&2; exit 3'])).rejects.toThrow(/status 3: broken/);
  });

  it('ends with all that it started when the bench is interrupted', async () => {
    const interruption = new AbortController();
    const running = run('/bin/sh', ['-c', 'sleep 60 | sleep 60'], interruption.signal);
    setTimeout(() => interruption.abort(new Error('interrupted')), 200);
    await expect(running).rejects.toThrow('interrupted');
  });
});
