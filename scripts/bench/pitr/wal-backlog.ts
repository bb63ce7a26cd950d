import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { ENV } from '../../../lib/domain/names.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatLsn, parseLsn } from '../../../lib/domain/wal/lsn.ts';
import { DEFAULT_SEGMENT_SIZE as SEGMENT_SIZE, segmentStart } from '../../../lib/domain/wal/segment.ts';
import { slotNameOf } from '../../../lib/domain/wal/slot-name.ts';
import { DATABASE } from '../database.ts';
import { start, watchProcess } from '../measured-run.ts';
import type { Contender } from '../rounds.ts';
import type { Measured } from '../table.ts';
import { agentCommand, agentFolder, archiveWith, type PitrGround } from './ground.ts';

/** How long it takes until all of a backlog of WAL is safe, once it may go. */

export const BACKLOG_SEGMENTS = 100;
const LOOK_EVERY_MS = 10;
const LIMIT_MS = 300_000;
const APP = 'hostmaster';

/** Where a backlog ends: the last segment's name and the first byte after it, and a restore point in it. */
export interface Backlog {
  readonly lastSegment: string;
  readonly end: string;
  readonly restorePoint: string;
}

/** Nobody takes any WAL away when this is called, and nobody does until it is drained. */
export async function makeBacklog(ground: PitrGround, round: number): Promise<Backlog> {
  const { postgres } = ground.stage;
  const from = await postgres.psql('postgres', 'SELECT pg_current_wal_lsn()');
  await postgres.psql(DATABASE, BACKLOG);
  const restorePoint = `backlog_${round}`;
  await postgres.psql(
    DATABASE,
    `CALL bench_backlog('${from}', ${(BACKLOG_SEGMENTS * SEGMENT_SIZE) / 1048576}); SELECT pg_create_restore_point('${restorePoint}'); DROP TABLE backlog`,
  );
  const switched = await postgres.psql('postgres', 'SELECT pg_switch_wal()');
  const lastSegment = await postgres.psql('postgres', `SELECT pg_walfile_name('${switched}')`);
  const end = segmentStart(parseLsn(switched) - 1n, SEGMENT_SIZE) + BigInt(SEGMENT_SIZE);
  return { lastSegment, end: formatLsn(end), restorePoint };
}

/** Rows as they are, and an index that is written to at random: the WAL of a busy day. */
const BACKLOG = `
  CREATE TABLE backlog (LIKE events);
  CREATE INDEX ON backlog (id);
  CREATE OR REPLACE PROCEDURE bench_backlog(since pg_lsn, megabytes int) LANGUAGE plpgsql AS $$
  DECLARE done int := 0; found int;
  BEGIN
    WHILE pg_current_wal_lsn() - since < megabytes * 1048576::numeric LOOP
      INSERT INTO backlog SELECT * FROM events OFFSET done LIMIT 20000;
      GET DIAGNOSTICS found = ROW_COUNT;
      done := CASE WHEN found = 0 THEN 0 ELSE done + 20000 END;
      COMMIT;
    END LOOP;
  END $$`;

/** @param backlog the one that this round made */
export function drainContenders(ground: PitrGround, backlog: () => Backlog): Contender[] {
  return [
    {
      id: 'pgbackrest drain',
      label: 'pgBackRest, `archive-push` with `archive-async`',
      run: () => drainWithPgBackRest(ground, backlog()),
    },
    {
      id: 'wal drain',
      label: '`lifeboat wal stream`',
      run: () => drainWithAgent(ground, backlog()),
    },
  ];
}

async function drainWithPgBackRest(ground: PitrGround, { lastSegment }: Backlog): Promise<Measured> {
  const begun = performance.now();
  await archiveWith(ground, ground.inS3.archiveCommand('archive-push'));
  await until(ground, `SELECT last_archived_wal >= '${lastSegment}' FROM pg_stat_archiver`);
  const seconds = (performance.now() - begun) / 1000;
  await archiveWith(ground, '');
  return { seconds, cpuSeconds: Number.NaN };
}

async function drainWithAgent(ground: PitrGround, { end }: Backlog): Promise<Measured> {
  return withStream(ground, async () => {
    const slot = slotNameOf(APP);
    await until(
      ground,
      `SELECT restart_lsn >= '${end}' FROM pg_replication_slots WHERE slot_name = '${slot}'`,
    );
  });
}

/** From its start until `ready`; then it is told to stop. */
export async function withStream(ground: PitrGround, ready: () => Promise<void>): Promise<Measured> {
  const command = agentCommand(ground, ['wal', 'stream'], {
    folder: agentFolder(ground, 'wal'),
    s3: true,
  });
  const begun = performance.now();
  const child = start({ ...command, env: { ...command.env, [ENV.walHeartbeatSeconds]: '3600' } });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-4000)));
  const gone = once(child, 'exit');
  const own = watchProcess(child.pid);
  const ended = gone.then(([status]) => {
    throw new LifeboatError('BUG', `lifeboat wal stream ended with ${String(status)}: ${said}`);
  });
  // Its end, once it is told to end, is as it should be.
  ended.catch(() => undefined);
  try {
    await Promise.race([ready(), ended]);
    const seconds = (performance.now() - begun) / 1000;
    const agent = own.seen();
    return { seconds, cpuSeconds: agent.cpuSeconds, agent };
  } finally {
    own.stop();
    child.kill('SIGTERM');
    await gone;
  }
}

/** @throws LifeboatError BUG when it takes minutes */
export async function until({ ask, signal }: PitrGround, question: string): Promise<void> {
  const limit = Date.now() + LIMIT_MS;
  while (Date.now() < limit) {
    signal.throwIfAborted();
    if (await ask(question)) return;
    await sleep(LOOK_EVERY_MS);
  }
  throw new LifeboatError('BUG', `It took longer than ${LIMIT_MS / 1000} s: ${question}`);
}
