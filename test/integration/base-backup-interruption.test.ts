import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { processesOfGroup, type AgentEnd, type RunningAgent } from './agent-process.ts';
import { holdBaseBackups, type HeldLine } from './held-line.ts';
import { Stage, useGround, type FailureJson } from './backup-fixture.ts';
import {
  labelsIn,
  noise,
  RestoredServer,
  Unpacked,
  checksumOf,
  type BaseBackupJson,
} from './base-backup-fixture.ts';

const ground = useGround();

beforeAll(async () => {
  await ground().postgres.psql('postgres', noise(160));
});

const BACKUP = ['backup', '--kind', 'base', '--json'];

async function untilNothingHeld(): Promise<void> {
  const { postgres } = ground();
  const held =
    'SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_stat_replication)';
  while ((await postgres.psql('postgres', held)) !== '0') await sleep(20);
}

/** Files below BACKUP_DIR, as paths relative to it, without locks and journal. */
function localFiles(stage: Stage, folder = ''): string[] {
  const here = path.join(stage.dir, folder);
  if (!existsSync(here)) return [];
  return readdirSync(here, { withFileTypes: true })
    .filter(({ name }) => !/^\..*\.(?:lock|runs\.jsonl)$/.test(name))
    .flatMap((entry) =>
      entry.isDirectory()
        ? localFiles(stage, path.join(folder, entry.name))
        : [path.join(folder, entry.name)],
    );
}

describe('A base backup that is killed', () => {
  it('at any moment leaves nothing that counts, and the next run clears what it may', async () => {
    const stage = await Stage.set(ground(), {});
    const began = Date.now();
    expect((await stage.run(BACKUP)).status).toBe(0);
    const whole = Date.now() - began;
    const [before] = [(await labelsIn(stage)).whole];
    const moments = 8;
    const finished = new Set(before);
    for (let moment = 1; moment <= moments; moment += 1) {
      const agent = stage.start(BACKUP);
      await Promise.race([sleep((whole * moment) / moments), agent.ended]);
      agent.kill('SIGKILL');
      await agent.ended;
      while (processesOfGroup(agent.pid).length > 0) await sleep(10);
      await untilNothingHeld();
      for (const label of (await labelsIn(stage)).whole) finished.add(label);
    }
    await sleep(1000);
    const end = await stage.run(BACKUP);
    const backup = end.json() as BaseBackupJson;
    expect(end.status).toBe(0);
    expect(await stage.uploads()).toEqual([]);
    expect((await labelsIn(stage)).whole).toEqual([...new Set([...finished, backup.label])].toSorted());
    const unpacked = await Unpacked.fetch(stage, backup);
    try {
      expect(unpacked.verify(ground().postgres.binDir)).toContain('successfully verified');
    } finally {
      unpacked.remove();
    }
  });

  it('leaves the WAL stream’s unfinished uploads alone when it clears those of base backups', async () => {
    const stage = await Stage.set(ground(), {});
    const { client } = ground();
    const { CreateMultipartUploadCommand } = await import('@aws-sdk/client-s3');
    const system = await ground().postgres.psql(
      'postgres',
      'SELECT system_identifier FROM pg_control_system()',
    );
    const series = `database/pitr/hostmaster/${system}`;
    const keys = {
      wal: `${series}/wal/00000001/000000010000000000000002.zst`,
      base: `${series}/base/hostmaster_base_20260101_020000/base-00001.tar.zst`,
      other: `database/pitr/hostmaster_staging/${system}/base/hostmaster_staging_base_20260101_020000/base-00001.tar.zst`,
    };
    for (const Key of Object.values(keys)) {
      await client.send(
        new CreateMultipartUploadCommand({ Bucket: stage.bucket, Key, ChecksumAlgorithm: 'CRC32' }),
      );
    }
    expect((await stage.run(BACKUP)).status).toBe(0);
    expect((await stage.uploads()).toSorted()).toEqual([keys.wal, keys.other].toSorted());
  });
});

describe('A signal', () => {
  it.each([
    ['SIGINT', 130, 'INTERRUPTED'],
    ['SIGTERM', 143, 'TERMINATED'],
  ] as const)(
    '%s in the midst ends a base backup within seconds, with status %s',
    async (signal, status, code) => {
      const stage = await Stage.set(ground(), {});
      const fault = ground().s3.faults.add({
        bucket: stage.bucket,
        action: 'UploadPart',
        times: 'always',
        effect: { kind: 'bandwidth', bytesPerSecond: 50_000 },
      });
      const agent = stage.start(BACKUP);
      while (fault.hits === 0) await sleep(20);
      agent.kill(signal);
      const asked = Date.now();
      const end = await agent.ended;
      // The upload would take an hour.
      expect(Date.now() - asked).toBeLessThan(60_000);
      expect((end.json() as FailureJson).error).toMatchObject({ code });
      expect(end.status).toBe(status);
      expect(end.leftRunning).toEqual([]);
      expect(await stage.uploads()).toEqual([]);
      expect((await labelsIn(stage)).whole).toEqual([]);
      await untilNothingHeld();
    },
  );

  it('while the server is still at its checkpoint is heard as well', async () => {
    const stage = await Stage.set(ground(), {});
    const agent = stage.start(BACKUP);
    await agent.untilPrinted(/Waiting for the server/);
    agent.kill('SIGTERM');
    const end = await agent.ended;
    expect(end.status).toBe(143);
    await untilNothingHeld();
  });
});

describe('Without a bucket', () => {
  const setLocal = (): Promise<Stage> => Stage.set(ground(), { S3_BUCKET: undefined });
  const labelsOf = (stage: Stage): string[] => [
    ...new Set(localFiles(stage).map((file) => file.split('/')[4]!)),
  ];
  /** In the midst of its files, where it stays. */
  async function startHeld(stage: Stage): Promise<{ agent: RunningAgent; line: HeldLine }> {
    const line = await holdBaseBackups(ground().postgres);
    const agent = stage.start(BACKUP, line.env);
    while (!localFiles(stage).some((file) => file.endsWith('.partial'))) await sleep(20);
    return { agent, line };
  }
  const expectStopped = (end: AgentEnd): void => expect(end.status).toBe(143);

  it('a base backup goes to BACKUP_DIR, is read again, and restores from there', async () => {
    const { postgres } = ground();
    const stage = await setLocal();
    const end = await stage.run(BACKUP);
    const backup = end.json() as BaseBackupJson;
    expect(end.printed).toContain('No S3_BUCKET is set: the base backup goes to BACKUP_DIR on this host');
    expect(end.printed).toContain('✅ Backup verified');
    expect(backup.location).toBe(
      path.join(stage.dir, 'pitr/hostmaster', backup.systemIdentifier, 'base', backup.label) + '/',
    );
    expect(
      localFiles(stage)
        .map((file) => path.basename(file))
        .toSorted(),
    ).toEqual(['backup_manifest', 'base-00001.tar.zst', 'manifest.json', 'wal-00001.tar.zst']);
    const unpacked = Unpacked.from(backup.location);
    try {
      unpacked.verify(postgres.binDir);
      const server = await RestoredServer.start(postgres, unpacked);
      expect(server.psql('postgres', checksumOf('noise'))).toBe(
        await postgres.psql('postgres', checksumOf('noise')),
      );
      await server.stop();
    } finally {
      unpacked.remove();
    }
    expect(end.status).toBe(0);
  });

  it('what a killed run left goes with the next one, and old backups go once a newer one stands', async () => {
    const stage = await setLocal();
    const first = (await stage.run(BACKUP)).json() as BaseBackupJson;
    const { agent, line } = await startHeld(stage);
    agent.kill('SIGKILL');
    await agent.ended;
    line.close();
    await untilNothingHeld();
    await sleep(1000);
    const second = (await stage.run(BACKUP)).json() as BaseBackupJson;
    expect(labelsOf(stage).toSorted()).toEqual([first.label, second.label]);
    expect(localFiles(stage).filter((file) => file.endsWith('.partial'))).toEqual([]);
  });

  it('a stopped run leaves nothing', async () => {
    const stage = await setLocal();
    const { agent, line } = await startHeld(stage);
    agent.kill('SIGTERM');
    expectStopped(await agent.ended);
    line.close();
    expect(localFiles(stage)).toEqual([]);
  });

  it('a full disk fails the run, which leaves nothing', async () => {
    const { onSmallDisk } = await import('./backup-fixture.ts');
    const stage = await setLocal();
    mkdirSync(stage.dir, { recursive: true });
    const end = await stage.run(
      ['backup', '--kind', 'base'],
      {},
      { through: onSmallDisk(stage.dir, 30_000_000) },
    );
    expect(end.stderr).toMatch(/No space left|free; the dump needs|ENOSPC/);
    expect(end.stdout).toMatch(/left: (\.\S+ )*$/m);
    expect([3, 6]).toContain(end.status);
  });
});
