import { execFileSync } from 'node:child_process';
import { chownSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startPostgres, type PostgresServer } from '../postgres-server.ts';
import { Stage, useGround } from './backup-fixture.ts';
import {
  compareWithServer,
  endStreams,
  expectNoGap,
  flushLsn,
  heldObjects,
  refusal,
  startStream,
  stopStream,
  systemIdentifier,
  untilHeld,
  WAL_SERVER,
  writeRound,
  writeSegments,
} from './wal-fixture.ts';

const ground = useGround(WAL_SERVER);
const servers: PostgresServer[] = [];

afterEach(async () => {
  await endStreams(ground().postgres);
  for (const server of servers.splice(0)) await server.remove();
});

async function newServer(): Promise<PostgresServer> {
  const settings = { ...WAL_SERVER.settings, fsync: 'off', wal_level: 'replica' };
  const server = await startPostgres({ ...WAL_SERVER, settings });
  servers.push(server);
  return server;
}

/** Another server with the first one's cluster: a standby of it, or a copy that goes its own way on the same timeline. */
async function copyOf(primary: PostgresServer, kind: 'standby' | 'clone'): Promise<PostgresServer> {
  const server = await newServer();
  await server.stop('immediate');
  const { uid, gid } = statSync(server.dataDir);
  rmSync(server.dataDir, { recursive: true });
  const program = path.join(primary.binDir, 'pg_basebackup');
  execFileSync(program, ['-D', server.dataDir, '-c', 'fast', ...(kind === 'standby' ? ['-R'] : [])], {
    env: {
      PATH: process.env['PATH'] ?? '',
      PGHOST: primary.host,
      PGPORT: String(primary.port),
      PGUSER: primary.superuser,
      PGPASSWORD: primary.password,
    },
  });
  for (const name of ['', ...readdirSync(server.dataDir, { recursive: true })]) {
    chownSync(path.join(server.dataDir, String(name)), uid, gid);
  }
  await server.start();
  return server;
}

async function untilReplayed(standby: PostgresServer, lsn: bigint): Promise<void> {
  const question = `SELECT pg_last_wal_replay_lsn() >= '0/0'::pg_lsn + ${lsn}`;
  while ((await standby.psql('postgres', question)) !== 't') await sleep(50);
}

const envOf = (server: PostgresServer): Record<string, string> => ({ ...server.env });

describe('lifeboat wal stream and timelines', () => {
  it('goes on with the next timeline when the standby that it streams from is promoted', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const standby = await copyOf(postgres, 'standby');
    const agent = await startStream(stage, envOf(standby));
    await writeSegments(postgres, 4);
    await writeRound(postgres, 'bulk', 1);
    await untilHeld(stage, await flushLsn(postgres));
    await standby.psql('postgres', 'SELECT pg_promote()');
    await agent.untilPrinted(/Timeline 1 ended at [^]*Streaming timeline 2 from/);
    await writeSegments(standby, 4);
    await untilHeld(stage, await flushLsn(standby), 2);
    await stopStream(agent);
    const objects = await heldObjects(stage);
    const roles = (timeline: number): string[] =>
      objects.flatMap(({ parsed }) =>
        'timeline' in parsed && parsed.timeline === timeline ? [parsed.role] : [],
      );
    expect(roles(1)).toContain('partial-wal');
    expect(roles(2)).toEqual(expect.arrayContaining(['history', 'wal', 'journal']));
    const history = objects.find(({ parsed }) => parsed.role === 'history')!;
    const file = path.join(standby.dataDir, 'pg_wal', '00000002.history');
    expect((await stage.object(history.key)).equals(readFileSync(file))).toBe(true);
    expectNoGap(objects, 1);
    expectNoGap(objects, 2);
    expect((await compareWithServer(stage, standby)).partials).toBe(1);
  });

  it('goes on with a new primary although it stood still while the old one was lost', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const standby = await copyOf(postgres, 'standby');
    const first = await startStream(stage);
    await writeSegments(postgres, 3);
    await writeRound(postgres, 'bulk', 1);
    const lsn = await flushLsn(postgres);
    await untilHeld(stage, lsn);
    await stopStream(first);
    await untilReplayed(standby, lsn);
    // The old primary goes on for a while, and its WAL gets to S3: a branch that nobody follows.
    await standby.psql('postgres', 'SELECT pg_promote()');
    const stray = await startStream(stage);
    await writeSegments(postgres, 2);
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(stray);
    await writeSegments(standby, 3);
    const second = await startStream(stage, envOf(standby));
    await untilHeld(stage, await flushLsn(standby), 2);
    await stopStream(second);
    const objects = await heldObjects(stage);
    expectNoGap(objects, 2);
    expect(objects.some(({ parsed }) => parsed.role === 'hole')).toBe(false);
    await compareWithServer(stage, standby).catch(() => undefined);
  });

  it('refuses a copy of the cluster that went its own way, before and after it is ahead', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const clone = await copyOf(postgres, 'clone');
    const agent = await startStream(stage);
    await writeSegments(postgres, 3);
    await writeRound(postgres, 'bulk', 1);
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(agent);
    const before = await heldObjects(stage);
    expect(await refusal(stage, envOf(clone))).toMatchObject({ status: 3, code: 'WAL_DIVERGED' });
    await writeSegments(clone, 8);
    expect(await refusal(stage, envOf(clone))).toMatchObject({ status: 3, code: 'WAL_CONFLICT' });
    const after = new Set((await heldObjects(stage)).map(({ key }) => key));
    expect(before.every(({ key }) => after.has(key))).toBe(true);
    const again = await startStream(stage);
    await untilHeld(stage, await flushLsn(postgres));
    await stopStream(again);
  });

  it('keeps another cluster out while the first one is alive, and lets it in when told so', async () => {
    const stage = await Stage.set(ground(), {});
    const { postgres } = ground();
    const agent = await startStream(stage);
    await writeRound(postgres, 'bulk', 1).catch(() => writeSegments(postgres, 1));
    await untilHeld(stage, await flushLsn(postgres));
    const other = await newServer();
    // A host of its own.
    const dir = { BACKUP_DIR: `${stage.dir}-other` };
    const refused = await refusal(stage, { ...envOf(other), ...dir });
    expect(refused).toMatchObject({ status: 3, code: 'SERIES_MISMATCH' });
    expect(refused.message).toContain(await systemIdentifier(postgres));
    const adopted = await startStream(stage, { ...envOf(other), ...dir }, '--adopt-series');
    await adopted.untilPrinted(/A new base backup is needed/);
    await stopStream(adopted);
    await stopStream(agent);
    const identifiers = new Set(
      (await heldObjects(stage)).map(({ parsed }) => parsed.series.systemIdentifier),
    );
    expect(identifiers.size).toBe(2);
  });
});
