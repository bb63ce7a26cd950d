import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseHoleRecord } from '../../lib/domain/wal/hole.ts';
import { reloadConfiguration } from '../postgres-server.ts';
import { Stage, useGround } from './backup-fixture.ts';
import {
  compareWithServer,
  endStreams,
  expectNoGap,
  flushLsn,
  heldObjects,
  heldTo,
  keepWriting,
  nameOfSegment,
  refusal,
  slotOf,
  startStream,
  stopStream,
  untilHeld,
  WAL_SERVER,
  writeRound,
  writeSegments,
} from './wal-fixture.ts';

const SLOT = 'lifeboat_hostmaster';

/** The most memory that a process ever had, in MiB. */
function peakMemory(pid: number): number {
  const [, kib] = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) / 1024;
}

describe('lifeboat wal stream on a bad day', () => {
  const ground = useGround(WAL_SERVER);
  const env = { AWS_MAX_ATTEMPTS: '1' };

  afterEach(async () => {
    ground().s3.faults.clear();
    await endStreams(ground().postgres);
  });

  it('loses and doubles nothing when it is killed again and again under load', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const stop = keepWriting(postgres);
    for (let kill = 1; kill <= 10; kill += 1) {
      const agent = await startStream(stage);
      await sleep(Math.random() * 1_500);
      agent.kill('SIGKILL');
      await agent.ended;
    }
    const agent = await startStream(stage);
    await stop();
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(agent);
    const objects = await heldObjects(stage);
    expectNoGap(objects, 1);
    expect((await compareWithServer(stage, postgres)).segments).toBeGreaterThan(5);
  });

  it('has all WAL in S3 before a server that is shut down goes, and follows it when it is back', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const agent = await startStream(stage);
    await writeRound(postgres, 'load', 1);
    const before = Date.now();
    await postgres.stop('fast');
    // Far less than wal_sender_timeout, after which the server would give us up.
    expect(Date.now() - before).toBeLessThan(40_000);
    const held = heldTo(await heldObjects(stage), 1);
    await postgres.start();
    // The first record after the shutdown checkpoint begins where the WAL of before ended.
    const redo = await postgres.psql('postgres', 'SELECT redo_lsn FROM pg_control_checkpoint()');
    expect(held).toBeGreaterThan(BigInt(`0x${redo.split('/')[1]!}`) - 1n);
    await writeRound(postgres, 'load', 2);
    await untilHeld(stage, await flushLsn(postgres));
    expect(await stopStream(agent)).toMatch(/next try in 1 s/);
    expectNoGap(await heldObjects(stage), 1);
    await compareWithServer(stage, postgres);
  });

  it('follows a server that was killed and came back', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const agent = await startStream(stage);
    const stop = keepWriting(postgres);
    for (let kill = 1; kill <= 2; kill += 1) {
      await sleep(1_000);
      await postgres.kill();
      await sleep(500);
      await postgres.start();
    }
    await sleep(500);
    await stop();
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(agent);
    expectNoGap(await heldObjects(stage), 1);
    await compareWithServer(stage, postgres);
  });

  it('leaves the WAL with PostgreSQL while S3 is away, says since when, and catches up', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres, s3 } = ground();
    const agent = await startStream(stage, env);
    await writeSegments(postgres, 2);
    await untilHeld(stage, await flushLsn(postgres));
    s3.faults.add({
      bucket: stage.bucket,
      times: 'always',
      effect: { kind: 'error', status: 503, code: 'ServiceUnavailable' },
    });
    const stop = keepWriting(postgres);
    await agent.untilPrinted(/What was committed since .* is not in S3 and would be lost with this host/);
    await agent.untilPrinted(/PostgreSQL keeps \S+ of WAL in its slot lifeboat_hostmaster, with room/);
    await writeSegments(postgres, 60);
    await sleep(3_000);
    await stop();
    expect(peakMemory(agent.pid)).toBeLessThan(300);
    // Nobody reads any more, and yet the server can be shut down.
    const before = Date.now();
    await postgres.restart();
    expect(Date.now() - before).toBeLessThan(40_000);
    s3.faults.clear();
    await untilHeld(stage, await flushLsn(postgres));
    await agent.untilPrinted(/S3 holds all WAL again, after/);
    await stopStream(agent);
    expectNoGap(await heldObjects(stage), 1);
    expect((await compareWithServer(stage, postgres)).segments).toBeGreaterThan(60);
  });

  it('survives connections to S3 that are cut, slow and late', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres, s3 } = ground();
    const { bucket } = stage;
    const agent = await startStream(stage);
    s3.faults.add({
      bucket,
      action: 'PutObject',
      times: 3,
      effect: { kind: 'cut-request', afterBytes: 5_000 },
    });
    s3.faults.add({ bucket, action: 'PutObject', skip: 3, times: 3, effect: { kind: 'lose-answer' } });
    s3.faults.add({
      bucket,
      action: 'PutObject',
      skip: 6,
      times: 4,
      effect: { kind: 'delay', milliseconds: 900 },
    });
    s3.faults.add({ bucket, action: 'HeadObject', times: 2, effect: { kind: 'lose-answer' } });
    s3.faults.add({
      bucket,
      action: 'PutObject',
      skip: 10,
      times: 2,
      effect: { kind: 'flip-request', offset: 77 },
    });
    await writeSegments(postgres, 20);
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(agent);
    expectNoGap(await heldObjects(stage), 1);
    await compareWithServer(stage, postgres);
  });

  it('ends within seconds of a signal, also while S3 does not answer', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres, s3 } = ground();
    const agent = await startStream(stage, env);
    s3.faults.add({
      bucket: stage.bucket,
      times: 'always',
      effect: { kind: 'delay', milliseconds: 600_000 },
    });
    await writeSegments(postgres, 3);
    await sleep(1_500);
    const before = Date.now();
    agent.kill('SIGTERM');
    const { status } = await agent.ended;
    expect(Date.now() - before).toBeLessThan(40_000);
    expect(status).toBe(0);
    s3.faults.clear();
    const second = await startStream(stage);
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(second);
    expectNoGap(await heldObjects(stage), 1);
  });

  it('makes its slot anew when that is dropped behind its back, and misses nothing that the server still has', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const agent = await startStream(stage);
    await writeSegments(postgres, 2);
    await untilHeld(stage, await flushLsn(postgres));
    await postgres.psql(
      'postgres',
      `SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots WHERE slot_name = '${SLOT}';
       SELECT pg_drop_replication_slot('${SLOT}');`,
    );
    await writeSegments(postgres, 2);
    await agent.untilPrinted(new RegExp(`Slot ${SLOT} created[^]*Slot ${SLOT} created`));
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(agent);
    expectNoGap(await heldObjects(stage), 1);
    expect((await heldObjects(stage)).some(({ parsed }) => parsed.role === 'hole')).toBe(false);
  });

  it('records a hole, goes on behind it and asks for a base backup when the server has the WAL no more', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const first = await startStream(stage);
    await writeSegments(postgres, 2);
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(first);
    const lost = heldTo(await heldObjects(stage), 1);
    await postgres.psql(
      'postgres',
      `ALTER SYSTEM SET wal_keep_size = 0; ALTER SYSTEM SET max_wal_size = '3MB';
       ALTER SYSTEM SET max_slot_wal_keep_size = '2MB'; ALTER SYSTEM SET min_wal_size = '2MB'`,
    );
    try {
      await reloadConfiguration(postgres);
      await writeSegments(postgres, 12);
      const gone = `SELECT count(*) = 0 FROM pg_ls_waldir() WHERE name = '${nameOfSegment(lost)}'`;
      for (let tries = 0; tries < 20 && (await postgres.psql('postgres', gone)) !== 't'; tries += 1) {
        await postgres.psql('postgres', 'SELECT pg_switch_wal(); CHECKPOINT; CHECKPOINT');
      }
      expect((await slotOf(postgres, SLOT))?.status).toBe('lost');
      const second = await startStream(stage);
      expect(second.printed()).toMatch(/The slot lifeboat_hostmaster lost WAL/);
      await second.untilPrinted(/WAL from \S+ to \S+ is lost \(commits after \S+ and before/);
      await second.untilPrinted(/A new base backup is needed/);
      await writeSegments(postgres, 2);
      await sleep(2_500);
      await stopStream(second);
    } finally {
      await postgres.psql('postgres', 'ALTER SYSTEM RESET ALL');
      await reloadConfiguration(postgres);
    }
    const objects = await heldObjects(stage);
    const holes = objects.flatMap(({ key, parsed }) => (parsed.role === 'hole' ? [{ key, parsed }] : []));
    expect(holes).toHaveLength(1);
    const { from, to } = holes[0]!.parsed;
    expect(from).toBe(lost);
    const record = parseHoleRecord((await stage.object(holes[0]!.key)).toString(), 'record');
    expect(record.since).toMatch(/^\d{4}-.*\.\d{6}Z$/);
    expect(record.reason).toMatch(/removed/);
    expect(to).toBeGreaterThan(from);
  });

  it('refuses to be a synchronous standby', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    await postgres.psql('postgres', `ALTER SYSTEM SET synchronous_standby_names = '*'`);
    await reloadConfiguration(postgres);
    try {
      expect(await refusal(stage)).toMatchObject({ status: 3, code: 'SYNC_STANDBY' });
    } finally {
      await postgres.psql(
        'postgres',
        `SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names`,
      );
      await reloadConfiguration(postgres);
    }
  });
});
