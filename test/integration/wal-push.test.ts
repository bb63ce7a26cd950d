import { spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { reloadConfiguration } from '../postgres-server.ts';
import { Stage, useGround } from './backup-fixture.ts';
import {
  compareWithServer,
  expectNoGap,
  heldObjects,
  startStream,
  stopStream,
  untilHeld,
  flushLsn,
  walMetadata,
  WAL_SERVER,
  writeSegments,
  endStreams,
} from './wal-fixture.ts';

const ROOT = path.join(import.meta.dirname, '../..');
// Archiving fails until the test does it in the archiver's place.
const ground = useGround({
  ...WAL_SERVER,
  settings: { ...WAL_SERVER.settings, archive_mode: 'on', archive_command: 'false' },
});
afterEach(() => endStreams(ground().postgres));

/** An agent as it is installed, whose interpreter counts its starts. */
class Archiver {
  readonly #stage: Stage;
  readonly #home: string;

  constructor(stage: Stage) {
    this.#stage = stage;
    this.#home = mkdtempSync(path.join(ground().folder, 'agent-'));
    for (const folder of ['bin', 'runtime', 'bundle']) mkdirSync(path.join(this.#home, folder));
    copyFileSync(path.join(ROOT, 'scripts/build/launcher.sh'), path.join(this.#home, 'bin/lifeboat'));
    const node = `#!/bin/sh\necho start >>'${this.#home}/starts'\nexec '${process.execPath}' "$@"\n`;
    writeFileSync(path.join(this.#home, 'runtime/node'), node, { mode: 0o755 });
    const main = `process.argv[1] = 'lifeboat'; await import('${ROOT}/scripts/agent/main.ts');\n`;
    writeFileSync(path.join(this.#home, 'bundle/main.mjs'), main);
  }

  get starts(): number {
    const file = path.join(this.#home, 'starts');
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').length : 0;
  }

  get #status(): string {
    return path.join(ground().postgres.dataDir, 'pg_wal/archive_status');
  }

  /** What waits, history files first and then the oldest, as PostgreSQL's archiver goes. */
  waiting(): string[] {
    const names = readdirSync(this.#status).filter((name) => name.endsWith('.ready'));
    return names.map((name) => name.slice(0, -6)).toSorted();
  }

  async push(name: string): Promise<{ status: number | null; stderr: string }> {
    const child = spawn('sh', [path.join(this.#home, 'bin/lifeboat'), 'wal', 'push', `pg_wal/${name}`], {
      cwd: ground().postgres.dataDir,
      env: { PATH: process.env['PATH'], HOME: this.#home, ...this.#stage.env() } as NodeJS.ProcessEnv,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const status = await new Promise<number | null>((resolve) => {
      child.once('close', resolve);
    });
    if (status === 0) {
      renameSync(path.join(this.#status, `${name}.ready`), path.join(this.#status, `${name}.done`));
    }
    return { status, stderr };
  }

  async pushAll(): Promise<number> {
    let count = 0;
    for (let [name] = this.waiting(); name !== undefined; [name] = this.waiting()) {
      const { status, stderr } = await this.push(name);
      if (status !== 0) throw new Error(`wal push ${name} ended with ${status}: ${stderr}`);
      count += 1;
    }
    return count;
  }
}

describe('lifeboat wal push', () => {
  it('stores what the archiver hands over, many segments for one start of the interpreter', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const archiver = new Archiver(stage);
    await writeSegments(postgres, 40);
    await postgres.psql('postgres', `SELECT pg_backup_start('x', true) \\; SELECT pg_backup_stop(false)`);
    await postgres.psql('postgres', 'SELECT pg_switch_wal()');
    const count = await archiver.pushAll();
    expect(count).toBeGreaterThan(40);
    expect(archiver.starts).toBeLessThanOrEqual(5);
    const objects = await heldObjects(stage);
    expectNoGap(objects, 1);
    expect((await compareWithServer(stage, postgres)).segments).toBeGreaterThanOrEqual(40);
    expect((await stage.keys()).some((key) => key.endsWith('.backup'))).toBe(true);
    const commits = await Promise.all(
      objects.map(async ({ key }) => (await walMetadata(stage, key)).lastCommit),
    );
    expect(commits.some((commit) => commit !== undefined)).toBe(true);
    expect(readdirSync(path.join(postgres.dataDir, 'lifeboat_pushed')).length).toBeLessThanOrEqual(64);
  });

  it('fails as long as S3 does not hold the file, and succeeds then', async () => {
    const stage = await Stage.set(ground(), { AWS_MAX_ATTEMPTS: '2' });
    const archiver = new Archiver(stage);
    await writeSegments(ground().postgres, 2);
    const [name] = archiver.waiting() as [string];
    ground().s3.faults.add({
      bucket: stage.bucket,
      action: 'PutObject',
      times: 'always',
      effect: { kind: 'error', status: 503, code: 'SlowDown' },
    });
    const refused = await archiver.push(name);
    expect(refused.status).toBe(5);
    expect(refused.stderr).toMatch(/SlowDown/);
    expect(await heldObjects(stage)).toEqual([]);
    ground().s3.faults.clear();
    expect((await archiver.push(name)).status).toBe(0);
    await archiver.pushAll();
  });

  it('takes no other file for one that went along, though it has its name', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const archiver = new Archiver(stage);
    await writeSegments(postgres, 3);
    const [first, second] = archiver.waiting() as [string, string];
    expect((await archiver.push(first)).status).toBe(0);
    const starts = archiver.starts;
    const file = path.join(postgres.dataDir, 'pg_wal', second);
    const bytes = readFileSync(file);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(file, bytes);
    utimesSync(file, new Date(), new Date());
    const refused = await archiver.push(second);
    expect(archiver.starts).toBe(starts + 1);
    expect(refused.status).toBe(3);
    expect(refused.stderr).toMatch(/holds other WAL than this server has under that name/);
    bytes[bytes.length - 1]! ^= 1;
    writeFileSync(file, bytes);
    expect((await archiver.push(second)).status).toBe(0);
    await archiver.pushAll();
  });

  it('agrees with what the stream stores', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const archiver = new Archiver(stage);
    const agent = await startStream(stage);
    await writeSegments(postgres, 4);
    await untilHeld(stage, await flushLsn(postgres));
    await archiver.pushAll();
    await stopStream(agent);
    await compareWithServer(stage, postgres);
  });

  it('is judged by wal status by what complete segments S3 has, without a slot', async () => {
    const stage = await Stage.set(ground(), { MAX_WAL_LAG_SECONDS: '1' });
    const { postgres } = ground();
    const archiver = new Archiver(stage);
    const told = async (): Promise<readonly [number | null, string]> => {
      const { status, printed } = await stage.run(['wal', 'status']);
      return [status, printed];
    };
    // It fails as the others do, but for what it says.
    await postgres.psql('postgres', `ALTER SYSTEM SET archive_command = 'false # lifeboat wal push %p'`);
    await reloadConfiguration(postgres);
    const backup = await stage.run(['backup', '--kind', 'base']);
    expect([backup.status, backup.printed]).toEqual([0, expect.any(String)]);
    expect(await told()).toEqual([9, expect.stringContaining('archive_command has brought none')]);
    await writeSegments(postgres, 2);
    await archiver.pushAll();
    const open = 'archive_command calls lifeboat wal push, without archive_timeout: the open segment may';
    expect(await told()).toEqual([0, expect.stringContaining(open)]);
    await writeSegments(postgres, 2);
    // Older than a second are the commits that S3 has by the time that these are asked for.
    await sleep(1_100);
    expect(await told()).toEqual([9, expect.stringMatching(/S3 is .* behind[^]*pg_stat_archiver/)]);
    await archiver.pushAll();
    expect((await told())[0]).toBe(0);
    await postgres.psql('postgres', `ALTER SYSTEM RESET archive_command`);
    await reloadConfiguration(postgres);
  });

  it('refuses what is no WAL, and WAL of another cluster', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const archiver = new Archiver(stage);
    expect((await archiver.push('PG_VERSION')).status).toBe(2);
    expect((await archiver.push('0000000100000000000000FF')).status).toBe(6);
    await writeSegments(postgres, 1);
    const [name] = archiver.waiting() as [string];
    const bytes = readFileSync(path.join(postgres.dataDir, 'pg_wal', name));
    const stray = path.join(postgres.dataDir, 'pg_wal', '0000000A0000000000000001');
    bytes[24]! ^= 1;
    writeFileSync(stray, bytes);
    const refused = await archiver.push('0000000A0000000000000001');
    expect(refused.status).toBe(7);
    expect(refused.stderr).toContain('is WAL of the cluster');
    writeFileSync(stray, bytes.subarray(0, 1000));
    expect((await archiver.push('0000000A0000000000000001')).status).toBe(7);
    expect(await heldObjects(stage)).toEqual([]);
  });
});
