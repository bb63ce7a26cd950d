import { spawn } from 'node:child_process';
import { open, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { commandsOf } from '../../../lib/domain/base/in-place-service.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { FileOwner } from '../data-path/tar/extraction-folder.ts';
import type { Environment } from '../environment.ts';
import { onDisk } from '../host/durable-file.ts';
import type { Services } from '../ports/in-place.ts';
import { findPostmaster } from './postmaster.ts';
import { serviceEnvironment, surveyServices } from './service-survey.ts';

const LOOK_EVERY_MS = 50;
/** After the service's own command has returned: some return at once. */
const GONE_WITHIN_MS = 120_000;
const THERE_WITHIN_MS = 30_000;
const SAID_KEPT = 2_000;

export function openServices(environment: Environment): Services {
  const env = serviceEnvironment(environment);
  return {
    survey: (dataDir, programs) => surveyServices(environment, dataDir, programs),
    postmaster: async (dataDir) => (await findPostmaster(dataDir))?.pid,
    stop: async (service, dataDir) => {
      const pid = (await findPostmaster(dataDir))?.pid;
      if (pid === undefined) return;
      const log = logOf(dataDir);
      const { stop, asOwner } = commandsOf(service, dataDir, log);
      const said = await run(stop, { env, log, owner: asOwner ? await ownerOf(dataDir) : undefined });
      await untilGone(dataDir, stop, said);
    },
    start: async (service, dataDir) => {
      if ((await findPostmaster(dataDir))?.status === 'ready') return;
      const log = logOf(dataDir);
      const { start, asOwner } = commandsOf(service, dataDir, log);
      const said = await run(start, { env, log, owner: asOwner ? await ownerOf(dataDir) : undefined });
      await untilReady(dataDir, start, said);
    },
  };
}

/** Beside the data directory, like the journal. */
function logOf(dataDir: string): string {
  return `${dataDir}.lifeboat-in-place.log`;
}

/** Only root can be another. */
async function ownerOf(dataDir: string): Promise<FileOwner | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const { uid, gid } = await stat(dataDir);
  return { uid, gid };
}

interface Running {
  readonly env: Record<string, string>;
  readonly log: string;
  readonly owner: FileOwner | undefined;
}

/**
 * A file takes what it says, since the server that it starts may keep the descriptor; a session of its own, so that Ctrl-C does
 * not end it half-way.
 * @returns what it said
 * @throws LifeboatError SERVICE_FAILED
 */
async function run(command: readonly string[], { env, log, owner }: Running): Promise<string> {
  const [program, ...args] = command;
  return await onDisk(`Cannot write ${log}`, async () => {
    const file = await open(log, 'a', 0o600);
    try {
      if (owner) await file.chown(owner.uid, owner.gid);
      const before = (await file.stat()).size;
      const ended = await new Promise<string | undefined>((resolve) => {
        const child = spawn(program!, args, {
          env,
          cwd: '/',
          stdio: ['ignore', file.fd, file.fd],
          detached: true,
          ...owner,
        });
        child.once('error', (error) => resolve(`could not be started: ${error.message}`));
        child.once('exit', (status, signal) =>
          resolve(status === 0 ? undefined : `ended with ${signal ?? `status ${status}`}`),
        );
      });
      const said = (await readFile(log)).subarray(before).toString('utf8').trim().slice(-SAID_KEPT);
      if (ended === undefined) return said;
      throw new LifeboatError('SERVICE_FAILED', `${command.join(' ')} ${ended}${said && `: ${said}`}`);
    } finally {
      await file.close();
    }
  });
}

async function untilGone(dataDir: string, command: readonly string[], said: string): Promise<void> {
  const deadline = performance.now() + GONE_WITHIN_MS;
  for (;;) {
    const postmaster = await findPostmaster(dataDir);
    if (!postmaster) return;
    if (performance.now() > deadline) {
      throw new LifeboatError(
        'SERVICE_FAILED',
        `${command.join(' ')} went well${said && ` (${said})`}, but the server on ${dataDir} still runs: process ${postmaster.pid}`,
      );
    }
    await sleep(LOOK_EVERY_MS);
  }
}

/** As pg_ctl does: by the status in postmaster.pid, so that nobody needs to log in. */
async function untilReady(dataDir: string, command: readonly string[], said: string): Promise<void> {
  let deadline = performance.now() + THERE_WITHIN_MS;
  for (;;) {
    const postmaster = await findPostmaster(dataDir);
    if (postmaster?.status === 'ready') return;
    // A server that is there may take its time.
    if (postmaster) deadline = performance.now() + THERE_WITHIN_MS;
    if (performance.now() > deadline) {
      throw new LifeboatError(
        'SERVICE_FAILED',
        `${command.join(' ')} went well${said && ` (${said})`}, but no server runs on ${path.resolve(dataDir)}`,
      );
    }
    await sleep(LOOK_EVERY_MS);
  }
}
