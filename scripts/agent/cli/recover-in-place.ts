import path from 'node:path';
import { parseCommand, type ServiceFacts } from '../../../lib/domain/base/in-place-service.ts';
import { parseRecoveryRequest, type RecoveryOptions } from '../../../lib/domain/base/recovery-target.ts';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Answer } from '../answer.ts';
import { planInPlace, recoverInPlace, type InPlaceRequest } from '../commands/recover/recover-in-place.ts';
import { resumeInPlace } from '../commands/recover/resume-in-place.ts';
import { openContext } from '../context.ts';
import { askForConsent } from '../host/confirmation.ts';
import type { InPlacePorts } from '../ports/in-place.ts';
import { openInPlaceSite } from '../recovery/in-place-site.ts';
import { openServices } from '../recovery/services.ts';
import * as render from '../render/in-place.ts';
import { openRecoveryPorts, parseOverrides } from './recover.ts';

type Options = Readonly<Record<string, unknown>>;

const WISHES = ['finish', 'undo'] as const;

/** `lifeboat restore --in-place …`: to a target, or `--finish` or `--undo` of one before. */
export async function runInPlace(options: Options): Promise<Answer> {
  const [wish, another] = WISHES.filter((each) => options[each] === true);
  if (another) throw new LifeboatError('USAGE', '--finish and --undo are each other’s opposite');
  refuseForeign(options);
  return wish ? await resume(options, wish) : await start(options);
}

/** What is for a cluster beside, or for a dump. */
function refuseForeign(options: Options): void {
  const foreign = {
    tablespaceDir: '--tablespace-dir',
    port: '--port',
    table: '--table',
    toDatabase: '--to-database',
    database: '--database',
    keep: '--keep',
    jobs: '--jobs',
    globals: '--globals',
  };
  for (const [name, option] of Object.entries(foreign)) {
    if (options[name] !== undefined)
      throw new LifeboatError('USAGE', `${option} means nothing with --in-place`);
  }
}

async function start(options: Options): Promise<Answer> {
  const request = parseRecoveryRequest(options as RecoveryOptions);
  const overrides = parseOverrides(options['despite']);
  const starts = parseAction(options['action']);
  const commands = parseCommands(options);
  const context = openContext({ json: options['json'] === true });
  const asked: InPlaceRequest = {
    request,
    overrides,
    dataDir: named(options),
    osUser: typeof options['osUser'] === 'string' ? options['osUser'] : undefined,
    replace: options['replace'] === true,
    start: starts,
    commands,
    confirmed: options['yes'] === true,
    runId: context.settings.runId ?? context.host.newRunId(),
  };
  const ports = openPorts(context);
  if (options['dryRun'] === true) {
    const planned = await planInPlace(ports, asked);
    return { lines: render.renderInPlacePlan(planned, asked), json: render.inPlacePlanAsJson(planned) };
  }
  const done = await recoverInPlace(ports, asked);
  for (const line of render.describeInPlace(done)) context.log.info(line);
  return { lines: [], json: render.inPlaceAsJson(done) };
}

function openPorts(context: ReturnType<typeof openContext>): InPlacePorts {
  const ports = openRecoveryPorts(context);
  return {
    ...ports,
    site: openInPlaceSite(ports),
    services: openServices(context.settings.environment),
    confirm: (question) => askForConsent(question, context.interrupted),
  };
}

async function resume(options: Options, wish: 'finish' | 'undo'): Promise<Answer> {
  if (options['dryRun'] === true) {
    throw new LifeboatError('USAGE', `--dry-run means nothing with --${wish}`, {
      hint: 'It says what it is about to do, and asks, before it stops the service.',
    });
  }
  const context = openContext({ json: options['json'] === true });
  const ports = openPorts(context);
  const dataDir = named(options) ?? (await findJournal(ports));
  const done = await resumeInPlace(ports, { wish, dataDir, confirmed: options['yes'] === true });
  for (const line of render.describeResumed(done, wish)) context.log.info(line);
  return { lines: [], json: render.resumedAsJson(done, wish) };
}

async function findJournal({ site, services }: InPlacePorts): Promise<string> {
  const { debian, units } = await services.survey('/', undefined);
  const known = [
    ...(debian?.clusters.map(({ dataDir }) => dataDir) ?? []),
    ...units.flatMap(({ dataDir }) => dataDir ?? []),
  ];
  const found = await site.journaled(known);
  if (found.length === 1) return found[0]!;
  const seen =
    found.length === 0 ? 'no recovery in place was found' : `there are several: ${found.join(', ')}`;
  throw new LifeboatError('USAGE', `Which data directory is meant is not clear: ${seen}`, {
    hint: 'Name it: --data-dir /var/lib/postgresql/15/main',
  });
}

function named(options: Options): string | undefined {
  return typeof options['dataDir'] === 'string' ? path.resolve(options['dataDir']) : undefined;
}

/** @returns whether the service is to be started */
function parseAction(action: unknown = 'promote'): boolean {
  if (action === 'promote' || action === 'shutdown') return action === 'promote';
  if (action === 'pause') {
    throw new LifeboatError(
      'USAGE',
      '--action pause is for looking, and the live service would stand still',
      {
        hint: 'Look at it beside: the same command with --data-dir <folder> --action pause, without --in-place.',
      },
    );
  }
  throw new LifeboatError('USAGE', `--action ${JSON.stringify(action)} is none of promote, shutdown`);
}

function parseCommands({ stopCommand, startCommand }: Options): ServiceFacts['commands'] {
  if (stopCommand === undefined && startCommand === undefined) return undefined;
  if (typeof stopCommand !== 'string' || typeof startCommand !== 'string') {
    throw new LifeboatError('USAGE', '--stop-command and --start-command belong together');
  }
  return {
    stop: parseCommand('--stop-command', stopCommand),
    start: parseCommand('--start-command', startCommand),
  };
}
