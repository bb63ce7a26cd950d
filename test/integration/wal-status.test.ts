import { DeleteObjectCommand, HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import type { AgentEnd } from './agent-process.ts';
import { Stage, useGround, type FailureJson } from './backup-fixture.ts';
import {
  endStreams,
  flushLsn,
  heldObjects,
  startStream,
  stopStream,
  untilHeld,
  WAL_SERVER,
  writeRound,
  writeSegments,
} from './wal-fixture.ts';

const ground = useGround(WAL_SERVER);
afterEach(() => endStreams(ground().postgres));

interface StatusJson {
  readonly serverLsn: string | null;
  readonly receivedLsn: string | null;
  readonly confirmedLsn: string | null;
  readonly storedLsn: string | null;
  readonly lagBytes: number | null;
  readonly lagSeconds: number | null;
  readonly slot: { readonly status: string; readonly active: boolean; readonly safeBytes: number } | null;
  readonly lastCommit: { readonly time: string } | null;
  readonly window: {
    readonly earliest: { readonly time: string } | null;
    readonly latest: { readonly time: string } | null;
    readonly holes: readonly unknown[];
  };
}

const status = (stage: Stage, env = {}): Promise<AgentEnd> => stage.run(['wal', 'status', '--json'], env);

describe('lifeboat wal status', () => {
  it('tells of the slot and of S3, and from when to when the cluster can be restored', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    expect((await status(stage)).status).toBe(9);

    const agent = await startStream(stage);
    await writeSegments(postgres, 2);
    await untilHeld(stage, await flushLsn(postgres));
    const without = await status(stage);
    expect(without.status).toBe(9);
    expect((without.json() as FailureJson).error.message).toMatch(/no base backup in S3 yet/);

    const backup = await stage.run(['backup', '--kind', 'base']);
    expect([backup.status, backup.printed]).toEqual([0, expect.any(String)]);
    await writeRound(postgres, 'bulk', 1);
    const before = await postgres.psql(
      'postgres',
      `SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`,
    );
    await writeRound(postgres, 'bulk', 2);
    await untilHeld(stage, await flushLsn(postgres));
    const end = await status(stage);
    const told = end.json() as StatusJson;
    expect([end.status, end.printed]).toEqual([0, expect.any(String)]);
    expect(told.slot).toMatchObject({ active: true, status: 'reserved' });
    expect(told.slot!.safeBytes).toBeGreaterThan(0);
    expect(told.lagSeconds).toBeLessThan(240);
    expect(told.receivedLsn).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
    expect(told.window.earliest!.time < before).toBe(true);
    expect(told.window.latest!.time > before).toBe(true);
    expect(told.window.latest!.time).toBe(told.lastCommit!.time);
    expect(told.window.holes).toEqual([]);

    const text = await stage.run(['wal', 'status']);
    expect(text.stdout).toMatch(/✅ HostMaster, cluster \d+\n/);
    expect(text.stdout).toMatch(/Restorable until {2}\d{4}-/);
    await stopStream(agent);
  });

  it('fails while nobody streams, and tells of S3 also while PostgreSQL does not answer', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const agent = await startStream(stage);
    await writeSegments(postgres, 2);
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(agent);
    const idle = await status(stage);
    expect(idle.status).toBe(9);
    expect((idle.json() as FailureJson).error.message).toBe(
      'Nobody streams WAL from the slot lifeboat_hostmaster',
    );
    expect((idle.json() as StatusJson).storedLsn).not.toBeNull();
    await postgres.stop();
    const away = await status(stage);
    expect(away.status).toBe(4);
    expect((away.json() as StatusJson).serverLsn).toBeNull();
    await postgres.start();
  });
});

describe('lifeboat wal verify', () => {
  async function streamed(): Promise<Stage> {
    const stage = await Stage.set(ground(), {});
    const agent = await startStream(stage);
    await writeSegments(ground().postgres, 5);
    await untilHeld(stage, await flushLsn(ground().postgres));
    await stopStream(agent);
    return stage;
  }

  async function segmentKeys(stage: Stage): Promise<string[]> {
    const objects = await heldObjects(stage);
    return objects.flatMap(({ key, parsed }) => (parsed.role === 'wal' ? [key] : [])).toSorted();
  }

  async function replace(
    stage: Stage,
    key: string,
    change: (body: Buffer) => Buffer,
    like = key,
  ): Promise<void> {
    const { client } = ground();
    const at = (name: string) => ({ Bucket: stage.bucket, Key: `${stage.prefix}/${name}` });
    const { Metadata } = await client.send(new HeadObjectCommand(at(like)));
    await client.send(new PutObjectCommand({ ...at(key), Body: change(await stage.object(like)), Metadata }));
  }

  it('reads everything and finds nothing wrong where nothing is', async () => {
    const stage = await streamed();
    const end = await stage.run(['wal', 'verify', '--json']);
    expect([end.status, end.printed]).toEqual([0, expect.any(String)]);
    const { clusters } = end.json() as {
      clusters: { segments: number; pieces: number; records: number; problems: string[] }[];
    };
    expect(clusters).toHaveLength(1);
    expect(clusters[0]!.segments).toBe((await segmentKeys(stage)).length);
    expect(clusters[0]!.pieces).toBeGreaterThan(0);
    expect(clusters[0]!.records).toBeGreaterThan(1000);
    expect(clusters[0]!.problems).toEqual([]);
    expect((await stage.run(['wal', 'verify'])).stdout).toMatch(/^✅ Cluster \d+: \d+ segments, /);
  });

  it('finds a flipped bit, other WAL under a name, and a segment that is missing', async () => {
    const stage = await streamed();
    const keys = await segmentKeys(stage);
    const at = (key: string) => ({ Bucket: stage.bucket, Key: `${stage.prefix}/${key}` });
    const [flipped, other, , missing] = keys.slice(-4) as [string, string, string, string];
    const problems = async (): Promise<string> => {
      const end = await stage.run(['wal', 'verify', '--json']);
      expect(end.status).toBe(7);
      expect((end.json() as FailureJson).error.hint).toContain('Make a new base backup now: ');
      return (end.json() as { clusters: { problems: string[] }[] }).clusters[0]!.problems.join('\n');
    };
    const verdictKeys = async (): Promise<string[]> =>
      (await stage.keys()).filter((key) => key.startsWith('verdicts/'));
    const verdicts = async (): Promise<string[]> =>
      (await verdictKeys()).map((key) => key.split('/').at(-2)!);
    const nameOf = (key: string): string => /([0-9A-F]{24})\.zst$/.exec(key)![1]!;
    await replace(stage, flipped, (body) => {
      body[Math.floor(body.length / 2)]! ^= 1;
      return body;
    });
    const { s3, client } = ground();
    // It tells, and writes down, what it found before S3 refused to hand out more, or before Ctrl-C.
    const unread = { bucket: stage.bucket, action: 'GetObject', key: `*${missing}` };
    s3.faults.deny(unread);
    const refused = await stage.run(['wal', 'verify']);
    expect([refused.status, refused.printed]).toEqual([5, expect.stringContaining(flipped)]);
    expect(await verdicts()).toEqual([nameOf(flipped)]);
    await client.send(new DeleteObjectCommand(at((await verdictKeys())[0]!)));
    s3.faults.clear();
    const day = 24 * 60 * 60 * 1000;
    const held = { kind: 'delay', milliseconds: day } as const;
    s3.faults.add({ ...unread, times: 'always', effect: held });
    const stopped = stage.start(['wal', 'verify']);
    await stopped.untilPrinted(new RegExp(nameOf(flipped)));
    stopped.killGroup('SIGINT');
    expect((await stopped.ended).status).toBe(130);
    expect(await verdicts()).toEqual([nameOf(flipped)]);
    s3.faults.clear();
    expect(await problems()).toContain(flipped);
    expect(await verdicts()).toEqual([nameOf(flipped)]);
    await replace(stage, other, (body) => body, keys.at(-2)!);
    expect(await problems()).toMatch(new RegExp(`${other}.*the page there is that of`));
    expect(await verdicts()).toEqual([nameOf(flipped), nameOf(other)].toSorted());
    await client.send(new DeleteObjectCommand(at(missing)));
    expect(await problems()).toMatch(/is missing from [0-9A-F]+\/[0-9A-F]+ to /);
  });

  it('says so where there is nothing', async () => {
    const stage = await Stage.set(ground(), {});
    const end = await stage.run(['wal', 'verify']);
    expect(end.status).toBe(3);
    expect(end.stderr).toContain('There is no WAL of hostmaster to verify');
  });
});
