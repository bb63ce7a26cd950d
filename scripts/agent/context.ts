import { join } from 'node:path';
import { readEnvironment, type Environment } from './environment.ts';
import { systemClock } from './host/clock.ts';
import { openJournal } from './host/journal.ts';
import { openLocalHost } from './host/local-host.ts';
import { openLocalStore } from './host/local-store.ts';
import { openTerminal, type Terminal } from './host/terminal.ts';
import { watchForInterruption } from './interruption.ts';
import { openChannels } from './notify/channels.ts';
import type { Clock, Host } from './ports/host.ts';
import type { Journal } from './ports/journal.ts';
import type { Channel } from './ports/notify.ts';
import type { ObjectStore } from './ports/store.ts';
import { openS3Store } from './s3/s3-store.ts';
import { parseSettings, type Settings } from './settings.ts';

/** What every command is given; the one place where ports meet edges. Opening it touches nothing outside. */
export interface Context extends Terminal {
  readonly settings: Settings;
  readonly stores: readonly [local: ObjectStore, s3?: ObjectStore];
  readonly journal: Journal;
  /** Empty when whoever started the run tells people of its outcome. */
  readonly channels: readonly Channel[];
  readonly host: Host;
  readonly clock: Clock;
  readonly interrupted: AbortSignal;
}

interface ContextOptions {
  readonly json: boolean;
  /** Instead of the process' own and `.env`. */
  readonly environment?: Environment;
}

/** @throws LifeboatError SETTINGS_INVALID */
export function openContext({ json, environment = readEnvironment() }: ContextOptions): Context {
  const settings = parseSettings(environment);
  const host = openLocalHost(settings.backupDir);
  const local = openLocalStore(settings.backupDir);
  const hostName = host.facts().name;
  const interrupted = watchForInterruption();
  return {
    settings,
    // With --json standard output is the result alone.
    ...openTerminal(json ? process.stderr : process.stdout, systemClock),
    stores: settings.s3 ? [local, openS3Store(settings.s3, { environment, interrupted })] : [local],
    journal: openJournal(join(settings.backupDir, `.${settings.app}.runs.jsonl`)),
    channels: settings.runId
      ? []
      : openChannels(settings.notify, { clock: systemClock, hostName, environment }),
    host,
    clock: systemClock,
    interrupted,
  };
}
