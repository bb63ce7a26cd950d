import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { LifeboatError } from '../../lib/domain/errors.ts';
import { ENV } from '../../lib/domain/names.ts';
import { measure } from './measured-run.ts';
import type { Contender } from './rounds.ts';
import type { Stage } from './stage.ts';
import type { Measured } from './table.ts';

/** What makes backups, the old way and ours. Each leaves its last backup in a folder of its own, to be restored. */

const UPLOADER = new URL('./sequential-upload.ts', import.meta.url);

/** The user's script: each step waits for the one before. Settings come from the environment, none from the text. */
const OLD_PIPELINE = `
pg_dump | gzip > "$UPLOAD_FILE" &&
gzip -t "$UPLOAD_FILE" &&
exec "$NODE" "$UPLOADER"
`;

type Settings = Readonly<Record<string, string>>;

const CUSTOM = { [ENV.backupFormat]: 'custom' };
const ZSTD = { [ENV.backupCompression]: 'zstd' };

export function backupContenders(stage: Stage, signal: AbortSignal): Contender[] {
  const agent = (id: string, label: string, settings: Settings, { s3 = true } = {}): Contender => ({
    id,
    label,
    run: () => runAgentBackup(stage, signal, { id, settings, s3 }),
  });
  return [
    {
      id: 'limit',
      label: '`pg_dump > /dev/null`',
      run: () => runShell(stage, signal, 'exec pg_dump > /dev/null'),
    },
    {
      id: 'old',
      label: '`pg_dump \\| gzip`, `gzip -t`, sequential upload',
      run: () => runOldPipeline(stage, signal),
    },
    agent('gzip', '`lifeboat backup` (gzip)', {}),
    agent('zstd', '`lifeboat backup` (zstd)', ZSTD),
    agent('custom', '`lifeboat backup` (custom, zstd)', { ...CUSTOM, ...ZSTD }),
    agent('local', '`lifeboat backup` (zstd), without S3', ZSTD, { s3: false }),
    { id: 'pg_dump-Fc', label: '`pg_dump -Fc`', run: () => runCustomDump(stage, signal) },
  ];
}

async function runOldPipeline(stage: Stage, signal: AbortSignal): Promise<Measured> {
  const file = oldDump(stage);
  await clearBefore(stage, path.dirname(file));
  const measured = await runShell(stage, signal, OLD_PIPELINE, {
    ...stage.s3.env,
    UPLOAD_FILE: file,
    UPLOAD_BUCKET: stage.s3.bucket,
    UPLOAD_KEY: 'database/old.sql.gz',
    NODE: process.execPath,
    UPLOADER: UPLOADER.pathname,
  });
  return { ...measured, fileBytes: statSync(file).size };
}

async function runCustomDump(stage: Stage, signal: AbortSignal): Promise<Measured> {
  const file = customDump(stage);
  await clearBefore(stage, path.dirname(file));
  const measured = await runShell(stage, signal, 'exec pg_dump -Fc > "$FILE"', { FILE: file });
  return { ...measured, fileBytes: statSync(file).size };
}

interface AgentBackup {
  readonly id: string;
  readonly settings: Settings;
  readonly s3: boolean;
}

async function runAgentBackup(
  stage: Stage,
  signal: AbortSignal,
  { id, settings, s3 }: AgentBackup,
): Promise<Measured> {
  const folder = path.join(stage.folder, id);
  await clearBefore(stage, folder);
  const env = {
    ...stage.agentEnv,
    ...(s3 ? { ...stage.s3.env, [ENV.s3Bucket]: stage.s3.bucket, [ENV.s3Prefix]: 'database' } : {}),
    ...settings,
    [ENV.backupDir]: folder,
  };
  const command = { program: stage.agent, args: ['backup'], env, cwd: stage.folder };
  const measured = await measure(command, { signal, agent: true });
  return { ...measured, fileBytes: statSync(agentDump(stage, id)).size };
}

/** Also for restores: constant text, all that varies in the environment. */
export function runShell(
  stage: Stage,
  signal: AbortSignal,
  text: string,
  env: Settings = {},
): Promise<Measured> {
  const command = {
    program: '/bin/sh',
    args: ['-c', text],
    env: { ...stage.toolEnv, ...env },
    cwd: stage.folder,
  };
  return measure(command, { signal, agent: false });
}

/** Nothing of the runs before may still be on its way to the disk. */
async function clearBefore(stage: Stage, folder: string): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o700 });
  await stage.s3.empty();
  execFileSync('sync');
}

export function oldDump(stage: Stage): string {
  return path.join(stage.folder, 'old', 'old.sql.gz');
}

export function customDump(stage: Stage): string {
  return path.join(stage.folder, 'pg_dump-Fc', 'old.dump');
}

/** The dump that the contender's last run made. @throws LifeboatError BUG when it made none */
export function agentDump(stage: Stage, id: string): string {
  const folder = path.join(stage.folder, id);
  const name = readdirSync(folder).find((entry) => /^hostmaster_db_\d{8}_\d{6}\.(?:sql|dump)\./.test(entry));
  if (name) return path.join(folder, name);
  throw new LifeboatError('BUG', `lifeboat backup made no dump in ${folder}`);
}
