import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { arm64Emulator, QEMU_PACKAGES } from '../../scripts/set-up/qemu.ts';
import type { AgentEnd, AgentOptions } from './agent-process.ts';
import { Stage, useGround, type BackupJson } from './backup-fixture.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const VERSION = (JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as { version: string })
  .version;
const DATABASE = 'hostmaster_prod';
const ROWS = 220_000;
/** A build may have to fetch Node for arm64, 50 MB. */
const BUILD_LIMIT_MS = 300_000;

const ONE_RUN_SECONDS = 60;
/** glibc's lost wake-ups (sourceware.org/bugzilla/show_bug.cgi?id=25847) are rare on a processor, less so on an emulated one. */
const FEWER_THREADS = ['--v8-pool-size=0', '--disable-sigusr1'];

const emulator = arm64Emulator();

if (emulator) describeArm64(emulator);
else {
  describe('The agent for arm64: not run, because qemu-user or its libraries are not installed', () => {
    it('is not wanted outside CI', () => {
      if (process.env['CI']) throw new Error(`CI runs it: apt-get install ${QEMU_PACKAGES.join(' ')}`);
    });
  });
}

function describeArm64(through: readonly string[]): void {
  describe('The agent for arm64', () => {
    const ground = useGround();
    const out = mkdtempSync(path.join(tmpdir(), 'lifeboat-arm64-'));
    const built = path.join(out, 'linux-arm64');
    const options: Partial<AgentOptions> = {
      through: ['timeout', '-s', 'KILL', String(ONE_RUN_SECONDS), ...through],
      agent: [path.join(built, 'runtime', 'node'), ...FEWER_THREADS, path.join(built, 'bundle', 'main.mjs')],
    };

    /** Under the emulator a thread may miss its wake-up when the program ends, the less the fewer there are. */
    async function runArm64(stage: Stage, args: readonly string[]): Promise<AgentEnd> {
      for (let attempt = 1; ; attempt += 1) {
        const end = await stage.run(args, {}, options);
        const timedOut = end.signal === 'SIGKILL' || end.status === 137;
        if (!timedOut || attempt === 3) return end;
      }
    }

    beforeAll(async () => {
      const build = [path.join(ROOT, 'scripts', 'build.mjs'), '--arch', 'arm64', '--out', out];
      execFileSync(process.execPath, build, { stdio: 'pipe' });
      const { postgres } = ground();
      await postgres.createDatabase(DATABASE);
      await postgres.psql(
        DATABASE,
        `CREATE TABLE users AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, ${ROWS}) n`,
      );
    }, BUILD_LIMIT_MS);
    afterAll(() => rm(out, { recursive: true, force: true }));

    it('tells its version', async () => {
      const stage = await Stage.set(ground(), {});
      expect(await runArm64(stage, ['--version'])).toMatchObject({ status: 0, stdout: `${VERSION}\n` });
    });

    it('makes a backup of several frames that the agent for this machine proves', async () => {
      const env = { DB_NAME: DATABASE, BACKUP_FORMAT: 'custom', BACKUP_COMPRESSION: 'zstd' };
      const stage = await Stage.set(ground(), env);
      const end = await runArm64(stage, ['backup', '--json']);
      expect(end.status).toBe(0);
      const { id, rows } = end.json() as BackupJson;
      expect(rows).toBe(ROWS);
      const { host, dump } = stage.manifest(id);
      expect(host.architecture).toBe('arm64');
      expect(dump.frameSizes.length).toBeGreaterThan(1);
      expect((await stage.run(['verify', '--all'])).status).toBe(0);
      expect((await runArm64(stage, ['verify', '--all'])).status).toBe(0);
    }, 600_000);

    it('refuses a request that it cannot read, with a verdict', async () => {
      const stage = await Stage.set(ground(), {});
      const end = await runArm64(stage, ['run', '--request', 'aGVsbG8']);
      expect(end.status).toBe(2);
      expect(end.stdout).toContain('LIFEBOAT-VERDICT {"runId":"unknown","succeeded":false,"exitStatus":2');
    });
  });
}
