import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RecoveryPlan } from '../../../lib/domain/base/recovery-plan.ts';
import { parsePitrKey } from '../../../lib/domain/wal/keys.ts';
import { parseLsn, type Lsn } from '../../../lib/domain/wal/lsn.ts';
import { historyFileName } from '../../../lib/domain/wal/segment.ts';
import { parseHistory } from '../../../lib/domain/wal/timeline.ts';
import { freeMemory } from '../host/free-memory.ts';
import { connect } from '../postgres/connection.ts';
import type { RecoveryAction, ReplayEnd, ServerPrograms } from '../ports/recovery.ts';
import { assembleSegment, requireOwnWal } from './assembled-segment.ts';
import { requireReplayedWhole } from './replayed-whole.ts';
import { ServerProcess } from './server-process.ts';
import { raiseSetting } from './setting-shortage.ts';
import { RECOVERY_SETTINGS, recoverySettings, WORK_FOLDER } from './settings-files.ts';
import { TablespacesInside } from './tablespaces-inside.ts';
import { WalFeed } from './wal-feed.ts';
import { makeOwnFolder, writeOwn } from './work-files.ts';
import type { WorkplaceGround } from './workplace.ts';

export interface ReplayGround extends WorkplaceGround {
  readonly programs: ServerPrograms;
  readonly dataDir: string;
  readonly socketDir: string;
  readonly port: number;
}

interface ReplayRequest {
  readonly plan: RecoveryPlan;
  readonly action: RecoveryAction;
  readonly onProgress: (segments: number) => void;
  readonly onStart: (server: ServerProcess) => void;
}

const LOOK_EVERY_MS = 30;

/** From the unpacked cluster to one that is where it should be. @throws LifeboatError what the WAL, the server or the interruption says */
export async function replayWal(
  ground: ReplayGround,
  request: ReplayRequest,
): Promise<{ readonly end: ReplayEnd; readonly server: ServerProcess }> {
  const { plan, action, onProgress } = request;
  const folder = path.join(ground.dataDir, WORK_FOLDER);
  const { walSegmentSize: segmentSize, systemIdentifier } = plan.base.manifest.server;
  const inside = new TablespacesInside(ground.log);
  const feed = new WalFeed({
    folder,
    wal: plan.wal,
    histories: await readHistories(ground, plan),
    segmentSize,
    owner: ground.owner,
    fetch: async (file) => {
      const segment = await assembleSegment(ground.reader, file, segmentSize);
      requireOwnWal(segment, file, systemIdentifier);
      return inside.take(segment, file.name);
    },
    onTaken: onProgress,
  });
  let failed = true;
  try {
    await inside.takeFolder(path.join(ground.dataDir, 'pg_wal'), new Set(plan.wal.map(({ name }) => name)));
    await feed.open();
    const { server, endOfWal } = await runToTarget(ground, request, feed);
    const told = server.news.promoted ? await askFiles(ground, server) : await askServer(ground);
    if (endOfWal) requireReplayedWhole(plan, { lsn: told.lsn, asked: feed.lastAsked, said: server.said });
    if (action === 'shutdown') await server.shutDown(ground.interrupted);
    failed = false;
    const end = { ...told, endOfWal, segments: feed.taken, socketDir: ground.socketDir, port: ground.port };
    return { end, server };
  } finally {
    await feed.close(failed);
  }
}

async function readHistories(
  { stores }: ReplayGround,
  { histories }: RecoveryPlan,
): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  for (const { key } of histories) {
    const object = parsePitrKey(key);
    if (object?.role === 'history')
      found.set(historyFileName(object.timeline), await stores.backups.read(key));
  }
  return found;
}

/** Once more to the end of the WAL, where nothing comes behind the target. */
async function runToTarget(
  ground: ReplayGround,
  request: ReplayRequest,
  feed: WalFeed,
): Promise<{ server: ServerProcess; endOfWal: boolean }> {
  const { stop } = request.plan;
  if (stop.kind === 'setting') {
    const server = await runRaising(ground, request, feed, true);
    if (!server.exited) return { server, endOfWal: false };
    if (!server.news.endedBeforeTarget || !stop.endOfWalSuffices) return await server.fail();
  }
  const server = await runRaising(ground, request, feed, false);
  if (server.exited) await server.fail();
  return { server, endOfWal: true };
}

/** As often as the WAL tells of a setting of the source that was raised after the base backup. */
async function runRaising(
  ground: ReplayGround,
  request: ReplayRequest,
  feed: WalFeed,
  target: boolean,
): Promise<ServerProcess> {
  const raised = new Map<string, number>();
  for (;;) {
    const server = await runServer(ground, request, feed, target);
    const { shortage, promoted } = server.news;
    if (!shortage || promoted) return server;
    await server.stop();
    const { setting, value } = shortage;
    if (value <= (raised.get(setting) ?? 0)) return await server.fail();
    raised.set(setting, value);
    await raiseSetting(ground.dataDir, shortage);
    ground.log.info(`The WAL needs a larger ${setting}: the recovered server starts again, with ${value}`);
  }
}

/** Until it is promoted, paused or short of something, or has ended. @param target `false`: all the WAL there is */
async function runServer(
  ground: ReplayGround,
  { plan, action, onStart }: ReplayRequest,
  feed: WalFeed,
  target: boolean,
): Promise<ServerProcess> {
  const { dataDir, owner, interrupted } = ground;
  const pause = action === 'pause';
  // PostgreSQL pauses at a target only; at the end of the WAL a standby waits for more.
  const standby = pause && !target;
  await makeOwnFolder(path.join(dataDir, WORK_FOLDER), owner);
  const { versionNumber } = ground.programs;
  const settings = recoverySettings(plan, { target, pause, versionNumber, freeMemory: freeMemory() });
  await writeOwn(path.join(dataDir, WORK_FOLDER, RECOVERY_SETTINGS), settings, owner);
  await rm(path.join(dataDir, standby ? 'recovery.signal' : 'standby.signal'), { force: true });
  await writeOwn(path.join(dataDir, standby ? 'standby.signal' : 'recovery.signal'), '', owner);
  const server = await ServerProcess.start(ground.programs, dataDir, owner);
  onStart(server);
  for (;;) {
    interrupted.throwIfAborted();
    const { exited } = server;
    await server.listen();
    if (feed.failure) throw feed.failure;
    const { promoted, paused, shortage } = server.news;
    if (exited || promoted || paused || shortage || (standby && feed.exhausted)) return server;
    await sleep(LOOK_EVERY_MS);
  }
}

type Told = Pick<ReplayEnd, 'lsn' | 'lastCommit' | 'timeline'>;

/** The new timeline's history says where it began. */
async function askFiles({ dataDir }: ReplayGround, { news }: ServerProcess): Promise<Told> {
  const { timeline, lastCommit } = news;
  if (timeline === undefined) return { lsn: undefined, lastCommit, timeline };
  const file = path.join(dataDir, 'pg_wal', historyFileName(timeline));
  const switches = parseHistory(await readFile(file, 'utf8'), file);
  return { lsn: switches.at(-1)?.switchLsn, lastCommit, timeline };
}

/** A paused server answers whoever may enter its socket's folder. */
async function askServer({ database, environment, socketDir, port }: ReplayGround): Promise<Told> {
  try {
    const settings = { ...database, host: socketDir, port };
    const connection = await connect(settings, environment, database.name ?? 'postgres');
    try {
      const [row] = await connection.rows<{ lsn: string; time: string | null }>(REPLAYED);
      const lsn: Lsn | undefined = row && parseLsn(row.lsn);
      return { lsn, lastCommit: row?.time ?? undefined, timeline: undefined };
    } finally {
      await connection.close();
    }
  } catch {
    // This role may not be there, or not be let in. The recovery is where it should be; only the figures are missing.
    return { lsn: undefined, lastCommit: undefined, timeline: undefined };
  }
}

const REPLAYED = `
  SELECT pg_last_wal_replay_lsn()::text AS lsn,
         to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS time`;
