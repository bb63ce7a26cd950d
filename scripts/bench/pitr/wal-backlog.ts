import { once } from 'node:events';
import { chownSync, copyFileSync, cpSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ENV } from '../../../lib/domain/names.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { formatLsn, parseLsn } from '../../../lib/domain/wal/lsn.ts';
import { DEFAULT_SEGMENT_SIZE as SEGMENT_SIZE, segmentStart } from '../../../lib/domain/wal/segment.ts';
import { slotNameOf } from '../../../lib/domain/wal/slot-name.ts';
import { serverUser } from '../../set-up/postgres-installation.ts';
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

/** From its first segment's name to its last one's, and the first byte after that; with a restore point in it. */
export interface Backlog {
  readonly firstSegment: string;
  readonly lastSegment: string;
  readonly end: string;
  readonly restorePoint: string;
}

/** Nobody takes any WAL away when this is called, and nobody does until it is drained. */
export async function makeBacklog(ground: PitrGround, round: number): Promise<Backlog> {
  const { postgres } = ground.stage;
  const from = await postgres.psql('postgres', 'SELECT pg_current_wal_lsn()');
  await postgres.psql(DATABASE, BACKLOG);
  const firstSegment = await postgres.psql('postgres', `SELECT pg_walfile_name('${from}')`);
  const restorePoint = `backlog_${round}`;
  await postgres.psql(
    DATABASE,
    `CALL bench_backlog('${from}', ${(BACKLOG_SEGMENTS * SEGMENT_SIZE) / 1048576}); SELECT pg_create_restore_point('${restorePoint}'); DROP TABLE backlog`,
  );
  const switched = await postgres.psql('postgres', 'SELECT pg_switch_wal()');
  const lastSegment = await postgres.psql('postgres', `SELECT pg_walfile_name('${switched}')`);
  const end = segmentStart(parseLsn(switched) - 1n, SEGMENT_SIZE) + BigInt(SEGMENT_SIZE);
  return { firstSegment, lastSegment, end: formatLsn(end), restorePoint };
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
  const push = pushCommand(ground);
  return [
    {
      id: 'pgbackrest drain',
      label: 'pgBackRest, `archive-push` with `archive-async`',
      run: () => drainByArchiver(ground, backlog(), ground.inS3.archiveCommand('archive-push')),
    },
    {
      id: 'push drain',
      label: '`lifeboat wal push`',
      run: () => drainByArchiver(ground, backlog(), push),
    },
    {
      id: 'wal drain',
      label: '`lifeboat wal stream`',
      run: () => drainWithAgent(ground, backlog()),
    },
  ];
}

/** From the reload that tells the server its `archive_command` until that has succeeded for the last segment. */
async function drainByArchiver(ground: PitrGround, backlog: Backlog, command: string): Promise<Measured> {
  const { postgres } = ground.stage;
  readyAgain(postgres.dataDir, backlog);
  await postgres.psql('postgres', "SELECT pg_stat_reset_shared('archiver')");
  const begun = performance.now();
  await archiveWith(ground, command);
  await until(ground, `SELECT last_archived_wal >= '${backlog.lastSegment}' FROM pg_stat_archiver`);
  const seconds = (performance.now() - begun) / 1000;
  await archiveWith(ground, '');
  return { seconds, cpuSeconds: Number.NaN };
}

/** As if nobody had archived them yet. */
function readyAgain(dataDir: string, { firstSegment, lastSegment }: Backlog): void {
  const folder = path.join(dataDir, 'pg_wal', 'archive_status');
  for (const file of readdirSync(folder)) {
    const segment = path.basename(file, '.done');
    if (segment === file || segment < firstSegment || segment > lastSegment) continue;
    renameSync(path.join(folder, file), path.join(folder, `${segment}.ready`));
  }
}

/** The agent where the server's user, who runs it, can reach it; what it pushes lies beside what is streamed. */
function pushCommand(ground: PitrGround): string {
  const { stage, folder } = ground;
  const [agent, settings, certificate] = ['agent', 'push.env', 'certificate.pem'].map((name) =>
    path.join(folder, name),
  ) as [string, string, string];
  cpSync(path.resolve(path.dirname(stage.agent), '..'), agent, { recursive: true });
  const { env } = agentCommand(ground, [], { folder, s3: true });
  const trusted = env['NODE_EXTRA_CA_CERTS'] ?? '';
  copyFileSync(trusted, certificate);
  const lines = Object.entries({ ...env, [ENV.s3Prefix]: 'pushed' }).map(
    ([name, value]) => `${name}=${value}`,
  );
  writeFileSync(settings, `${lines.join('\n')}\n`);
  const user = serverUser();
  for (const file of user ? [settings, certificate] : []) chownSync(file, user!.uid, user!.gid);
  return `NODE_EXTRA_CA_CERTS=${certificate} ${agent}/bin/lifeboat wal push %p --env-file ${settings}`;
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
