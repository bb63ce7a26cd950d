import { createHash } from 'node:crypto';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { formatWalMetadata } from '../../lib/domain/wal/wal-metadata.ts';
import { isAlive } from './agent-process.ts';
import { postmasterOf, RecoveryGround } from './recovery-fixture.ts';
import { createTablespace } from './base-backup-fixture.ts';
import { Stage, useGround, withMount } from './backup-fixture.ts';
import {
  flushLsn,
  startStream,
  stopStream,
  untilHeld,
  WAL_SERVER,
  walMetadata,
  writeSegments,
} from './wal-fixture.ts';

describe('A recovery in trouble', () => {
  const ground = useGround(WAL_SERVER);
  let stage: Stage;
  let recoveries: RecoveryGround;
  let rows = '';

  beforeAll(async () => {
    stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    recoveries = new RecoveryGround(postgres);
    await createTablespace(ground(), 'one');
    await postgres.psql(
      'postgres',
      'CREATE TABLE elsewhere TABLESPACE one AS SELECT generate_series(1, 60000) AS n',
    );
    const agent = await startStream(stage);
    const backup = await stage.run(['backup', '--kind', 'base', '--json']);
    if (backup.status !== 0) throw new Error(backup.printed);
    await writeSegments(postgres, 6);
    rows = await postgres.psql('postgres', 'SELECT count(*) FROM bulk');
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(agent);
  });

  afterAll(() => recoveries?.remove());

  const segments = async (): Promise<string[]> =>
    (await stage.keys()).filter((key) => /\/wal\/00000001\/[0-9A-F]{24}\.zst$/.test(key)).toSorted();

  const expectNothing = (dataDir: string): void => {
    expect([existsSync(dataDir), existsSync(`${dataDir}_tablespaces`)]).toEqual([false, false]);
  };

  async function untilGone(pid: number): Promise<void> {
    while (isAlive(pid)) await sleep(50);
  }

  /** S3 holds the WAL back, so that the recovery waits for it. */
  const holdBack = (key: string): void =>
    void ground().s3.faults.add({
      bucket: stage.bucket,
      action: 'GetObject',
      key,
      times: 'always',
      effect: { kind: 'delay', milliseconds: 600_000 },
    });

  async function startWaiting(dataDir: string): Promise<ReturnType<Stage['start']>> {
    const held = (await segments()).at(-2)!;
    holdBack(`${stage.prefix}/${held}`);
    const agent = stage.start(['restore', '--latest', '--data-dir', dataDir]);
    await agent.untilPrinted(/Replaying WAL/);
    while (postmasterOf(dataDir) === undefined) await sleep(20);
    // All before it is replayed within a moment; then the server waits.
    await sleep(1500);
    return agent;
  }

  it('leaves no server behind when it is killed, and the next one clears away what it left', async () => {
    const dataDir = recoveries.folder();
    const agent = await startWaiting(dataDir);
    const pid = postmasterOf(dataDir)!;
    expect(isAlive(pid)).toBe(true);
    agent.kill('SIGKILL');
    await agent.ended;
    await untilGone(pid);
    ground().s3.faults.clear();
    const { end, json } = await recoveries.run(stage, ['--latest', '--data-dir', dataDir]);
    expect(end.printed).toMatch(/Clearing away what a recovery that was killed left/);
    expect(recoveries.psql(json, 'SELECT count(*) FROM bulk')).toBe(rows);
    recoveries.end(dataDir);
  });

  it('leaves nothing when it is interrupted while WAL is replayed or volumes are unpacked', async () => {
    const dataDir = recoveries.folder();
    const agent = await startWaiting(dataDir);
    const pid = postmasterOf(dataDir)!;
    agent.killGroup('SIGINT');
    expect((await agent.ended).status).toBe(130);
    await untilGone(pid);
    expectNothing(dataDir);
    ground().s3.faults.clear();
    holdBack('*/base-00001.tar.zst');
    const other = stage.start(['restore', '--latest', '--data-dir', dataDir]);
    await other.untilPrinted(/then \d+ WAL segments/);
    await sleep(300);
    other.killGroup('SIGINT');
    expect((await other.ended).status).toBe(130);
    expectNothing(dataDir);
  });

  it('refuses WAL that is damaged where it is needed, and names it', async () => {
    const dataDir = recoveries.folder();
    const key = (await segments()).at(-2)!;
    ground().s3.faults.add({
      bucket: stage.bucket,
      action: 'GetObject',
      key: `${stage.prefix}/${key}`,
      times: 'always',
      effect: { kind: 'flip-response', offset: 40 },
    });
    const quickly = { AWS_MAX_ATTEMPTS: '2' };
    const { end, json } = await recoveries.run(stage, ['--latest', '--data-dir', dataDir], quickly);
    expect([end.status, json.error?.code]).toEqual([7, 'CORRUPT']);
    expect(json.error?.message).toContain(path.basename(key));
    expectNothing(dataDir);
  });

  it('refuses a volume that is damaged, and one that is missing', async () => {
    const dataDir = recoveries.folder();
    const volume = (await stage.keys()).find((key) => key.endsWith('/base-00001.tar.zst'))!;
    ground().s3.faults.add({
      bucket: stage.bucket,
      action: 'GetObject',
      key: `${stage.prefix}/${volume}`,
      times: 'always',
      effect: { kind: 'flip-response', offset: 5000 },
    });
    const damaged = await recoveries.run(stage, ['--latest', '--data-dir', dataDir]);
    expect([damaged.end.status, damaged.json.error?.code]).toEqual([7, 'CORRUPT']);
    expect(damaged.json.error?.message).toContain('base-00001.tar.zst');
    expectNothing(dataDir);
    ground().s3.faults.clear();
    const body = await stage.object(volume);
    const object = { Bucket: stage.bucket, Key: `${stage.prefix}/${volume}` };
    await ground().client.send(new DeleteObjectCommand(object));
    try {
      const missing = await recoveries.run(stage, ['--latest', '--data-dir', dataDir]);
      expect([missing.end.status, missing.json.error?.code]).toEqual([3, 'TARGET_OUTSIDE_WINDOW']);
      expectNothing(dataDir);
    } finally {
      await stage.put(volume, body);
    }
  });

  it('refuses a disk that is too small, before anything is touched', async () => {
    const dataDir = path.join(recoveries.folder(), 'data');
    const folder = path.dirname(dataDir);
    recoveries.makeFolder(folder);
    const end = await stage.run(
      ['restore', '--latest', '--json', '--data-dir', dataDir],
      {},
      {
        through: withMount(`mount -t tmpfs -o size=8m,mode=755 tmpfs '${folder}'`),
      },
    );
    const { error } = end.json() as { error: { code: string; hint: string } };
    expect([end.status, error.code]).toEqual([6, 'DISK_FULL']);
    expect(error.hint).toMatch(/--data-dir/);
  });

  /** Root may mount; an ordinary user is root for that, and itself again for the server's sake. */
  function asMounter(): { readonly mounting: readonly string[]; readonly restoring: string } {
    const [uid, gid] = [process.getuid!(), process.getgid!()];
    if (uid === 0) return { mounting: ['unshare', '--mount'], restoring: '' };
    const restoring = `unshare --user --map-user=${uid} --map-group=${gid}`;
    return { mounting: ['unshare', '--mount', '--map-root-user'], restoring };
  }

  /**
   * Restores to a disk of so many MiB which the live cluster lies on as well. A process that works in the data directory stands
   * for its server, since the real one's files are out of sight there.
   */
  async function restoreBesideLive(mebibytes: number, meanwhile: string) {
    const { mounting, restoring } = asMounter();
    const live = ground().postgres.dataDir;
    const disk = path.dirname(live);
    const dataDir = path.join(disk, 'recovered');
    const script = `here=$PWD; disk='${disk}'; made='${dataDir}'
      mount -t tmpfs -o size=${mebibytes}m,mode=755 tmpfs "$disk" && mkdir '${live}' &&
      cd '${live}' && echo $$ >postmaster.pid || exit 99
      chown --reference='${recoveries.root}' "$disk"
      ${meanwhile}
      (cd "$here" && ${restoring} "$@"); status=$?; echo "left: $(ls -A "$made" 2>/dev/null | wc -l)" >&2; exit $status`;
    const through = [...mounting, 'sh', '-c', script, 'sh'];
    const end = await stage.run(['restore', '--latest', '--json', '--data-dir', dataDir], {}, { through });
    const { error } = end.json() as { error?: { code: string; message: string } };
    return { status: end.status, error, left: /left: (\d+)/.exec(end.stderr)?.[1] };
  }

  it('leaves a cluster that runs on the same disk its room', async () => {
    const refused = await restoreBesideLive(1024, '');
    expect(refused).toMatchObject({ status: 6, error: { code: 'DISK_FULL' }, left: '0' });
    expect(refused.error!.message).toContain('and the cluster that runs on that disk (2.0G)');
  });

  it('gives up when the disk of a cluster that runs fills up meanwhile', async () => {
    holdBack(`${stage.prefix}/${(await segments()).at(-2)!}`);
    const fills = `(until [ -e "$made/postmaster.pid" ]; do kill -0 $$ || exit; sleep 0.05; done
      fallocate -l 460M "$disk/filler") &`;
    const gaveUp = await restoreBesideLive(2500, fills);
    ground().s3.faults.clear();
    expect(gaveUp).toMatchObject({ status: 6, error: { code: 'DISK_FULL' }, left: '0' });
    expect(gaveUp.error!.message).toContain('The recovery gave up');
  });

  /** Restores with a folder on a disk of so many bytes; what is left on it is printed. */
  async function restoreOnSmallDisk(bytes: number, small: string, dataDir: string, tablespaceDir: string) {
    const { mounting, restoring } = asMounter();
    const script = `mount -t tmpfs -o size=${bytes},mode=755 tmpfs '${small}' || exit 99
      chown --reference='${recoveries.root}' '${small}'
      ${restoring} "$@"; status=$?; echo "left: $(find '${small}' -mindepth 1 | wc -l)" >&2; exit $status`;
    const through = [...mounting, 'sh', '-c', script, 'sh'];
    const args = ['restore', '--latest', '--json', '--data-dir', dataDir, '--tablespace-dir', tablespaceDir];
    const end = await stage.run(args, {}, { through });
    const { error } = end.json() as { error?: { code: string; message: string; hint: string } };
    return { status: end.status, error, left: /left: (\d+)/.exec(end.stderr)?.[1] };
  }

  it('leaves nothing where the disk fills up while it unpacks, that of a tablespace', async () => {
    const small = recoveries.folder();
    const dataDir = recoveries.folder();
    recoveries.makeFolder(small);
    const full = await restoreOnSmallDisk(1_000_000, small, dataDir, path.join(small, 'spaces'));
    expect(full).toMatchObject({ status: 6, error: { code: 'DISK_FULL' }, left: '0' });
    expect(full.error!.hint).toContain('--data-dir');
    expectNothing(dataDir);
  });

  it('leaves nothing where the disk fills up while WAL is replayed', async () => {
    const dryRun = await stage.run(['restore', '--latest', '--dry-run', '--json']);
    const { bytes } = dryRun.json() as { bytes: { baseRaw: number } };
    const small = recoveries.folder();
    recoveries.makeFolder(small);
    const places = [path.join(small, 'data'), path.join(small, 'spaces')] as const;
    const full = await restoreOnSmallDisk(bytes.baseRaw + 4_000_000, small, ...places);
    expect(full).toMatchObject({ status: 6, error: { code: 'DISK_FULL' }, left: '0' });
  });

  it('starts anew where a recovery was killed while it unpacked', async () => {
    const dataDir = recoveries.folder();
    holdBack('*/base-00001.tar.zst');
    const agent = stage.start(['restore', '--latest', '--data-dir', dataDir]);
    await agent.untilPrinted(/then \d+ WAL segments/);
    while (!existsSync(`${dataDir}_tablespaces`)) await sleep(20);
    agent.kill('SIGKILL');
    await agent.ended;
    ground().s3.faults.clear();
    const { end, json } = await recoveries.run(stage, ['--latest', '--data-dir', dataDir]);
    expect(end.printed).toMatch(/Clearing away what a recovery that was killed left/);
    expect(recoveries.psql(json, 'SELECT count(*) FROM bulk')).toBe(rows);
    recoveries.end(dataDir);
  });

  /** While `work` goes on, a segment in S3 has other bytes, with a SHA-256 that fits them. */
  async function withOtherBytes(
    key: string,
    change: (wal: Buffer) => void,
    work: () => Promise<void>,
  ): Promise<void> {
    const whole = await stage.object(key);
    const metadata = await walMetadata(stage, key);
    const wal = zstdDecompressSync(whole);
    change(wal);
    const rawSha256 = createHash('sha256').update(wal).digest('hex');
    const put = async (Body: Buffer, sha256: string): Promise<void> => {
      await ground().client.send(
        new PutObjectCommand({
          Bucket: stage.bucket,
          Key: `${stage.prefix}/${key}`,
          Body,
          Metadata: formatWalMetadata({ ...metadata, rawSha256: sha256 }),
        }),
      );
    };
    await put(zstdCompressSync(wal), rawSha256);
    try {
      await work();
    } finally {
      await put(whole, metadata.rawSha256);
    }
  }

  it('refuses WAL of another cluster, which PostgreSQL would take for the end of the WAL', async () => {
    const dataDir = recoveries.folder();
    const key = (await segments()).at(-3)!;
    // The system identifier in the header of the segment's first page.
    const change = (wal: Buffer): void => void wal.writeBigUInt64LE(wal.readBigUInt64LE(24) + 1n, 24);
    await withOtherBytes(key, change, async () => {
      const { end, json } = await recoveries.run(stage, ['--latest', '--data-dir', dataDir]);
      expect([end.status, json.error?.code]).toEqual([7, 'CORRUPT']);
      expect(json.error?.message).toMatch(/it is WAL of the cluster \d+, not of \d+/);
      expect(json.error?.message).toContain(path.basename(key));
      expectNothing(dataDir);
    });
  });

  /** Where there is a row's text from there on: in a record's header, PostgreSQL would use other words for the damage. */
  const withinRow = (wal: Buffer, from: number): number =>
    from +
    wal
      .subarray(from)
      .toString('latin1')
      .search(/(?<=[0-9a-f]{64})[0-9a-f](?=[0-9a-f]{64})/);

  it('does not take a record that the source damaged for the end of the WAL, and recovers what comes before', async () => {
    const key = (await segments()).at(-3)!;
    const change = (wal: Buffer): void => {
      const at = withinRow(wal, 500_000);
      wal.writeUInt8(255 - wal[at]!, at);
    };
    await withOtherBytes(key, change, async () => {
      let before = '';
      for (const action of ['promote', 'pause']) {
        const dataDir = recoveries.folder();
        const args = ['--latest', '--action', action, '--data-dir', dataDir];
        const { end, json } = await recoveries.run(stage, args);
        expect([end.status, json.error?.code]).toEqual([7, 'CORRUPT']);
        const segment = path.basename(key, '.zst');
        expect(json.error?.message).toMatch(
          new RegExp(`beyond \\w+/\\w+, in ${segment} \\(incorrect .* checksum`),
        );
        before = /--to-lsn (\S+)\./.exec(json.error!.hint)![1]!;
        expectNothing(dataDir);
      }
      const json = await recoveries.recover(stage, '--to-lsn', before);
      expect(json.reached).toMatchObject({ lsn: before, endOfWal: true });
      recoveries.end(json.dataDir);
    });
  });

  it('leaves a folder that is somebody else’s as it is, also one with tablespaces', async () => {
    const dataDir = recoveries.folder();
    recoveries.makeFolder(`${dataDir}_tablespaces`);
    writeFileSync(path.join(`${dataDir}_tablespaces`, 'theirs'), 'x');
    const { end, json } = await recoveries.run(stage, ['--latest', '--data-dir', dataDir]);
    expect([end.status, json.error?.code]).toEqual([3, 'RESTORE_REFUSED']);
    expect(existsSync(dataDir)).toBe(false);
    expect(readdirSync(`${dataDir}_tablespaces`)).toEqual(['theirs']);
  });
});
