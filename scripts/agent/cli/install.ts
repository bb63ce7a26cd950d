import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Answer } from '../answer.ts';
import type { InstallOptions } from '../commands/install/install-steps.ts';
import { install } from '../commands/install/install.ts';
import { openContext } from '../context.ts';
import { openMachine } from '../host/machine.ts';
import { renderInstall } from '../render/install.ts';

type Options = Readonly<Record<string, unknown>>;

export async function runInstall(options: Options): Promise<Answer> {
  const { settings } = openContext({ json: true });
  const { root } = options;
  const machine = openMachine({
    environment: settings.environment,
    ...(typeof root === 'string' ? { root } : {}),
  });
  const result = await install({ machine }, parseOptions(options), settings);
  return { lines: renderInstall(result), json: { operation: 'install', succeeded: true, ...result } };
}

function parseOptions(options: Options): InstallOptions {
  const { systemd, cron, print, uninstall, user, wal } = options;
  if (Boolean(systemd) === Boolean(cron)) throw oneOf('--systemd', '--cron');
  if (print && uninstall) throw oneOf('--print', '--uninstall');
  if (wal && !systemd) {
    throw new LifeboatError('USAGE', '--wal is a service, which only --systemd can run', {
      hint: 'Run: lifeboat install --systemd --wal',
    });
  }
  return {
    scheduler: systemd ? 'systemd' : 'cron',
    action: print ? 'print' : uninstall ? 'uninstall' : 'install',
    force: options['force'] === true,
    purge: options['purge'] === true,
    wal: wal === true,
    ...(typeof user === 'string' ? { user } : {}),
  };
}

function oneOf(one: string, other: string): LifeboatError {
  return new LifeboatError('USAGE', `Exactly one of ${one} and ${other} is needed`, {
    hint: 'Run: lifeboat install --help',
  });
}
