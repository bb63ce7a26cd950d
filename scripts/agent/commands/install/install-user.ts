import { LifeboatError } from '../../../../lib/domain/errors.ts';
import type { Machine, MachineFacts, MachineUser } from '../../ports/install.ts';

/** useradd(8) allows more on some systems; this much is harmless in a unit and in a crontab. */
const USER_NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/;

/**
 * Who is to run the backup: `--user`, else postgres, which may connect without a password, else whoever asks.
 * @throws LifeboatError PREFLIGHT_FAILED
 */
export async function chooseUser(
  machine: Machine,
  { system, user }: MachineFacts,
  options: { readonly scheduler: 'systemd' | 'cron'; readonly user?: string },
): Promise<MachineUser> {
  const wanted = options.user;
  if (options.scheduler === 'cron' && !system) {
    if (wanted === undefined || wanted === user.name) return user;
    throw new LifeboatError(
      'PREFLIGHT_FAILED',
      `Only root may install a cron job for ${JSON.stringify(wanted)}`,
      {
        hint: 'Run: sudo --preserve-env lifeboat install --cron',
      },
    );
  }
  if (wanted === undefined) return (await machine.findUser('postgres')) ?? user;
  const found = USER_NAME.test(wanted) ? await machine.findUser(wanted) : undefined;
  if (found) return found;
  throw new LifeboatError('PREFLIGHT_FAILED', `There is no user ${JSON.stringify(wanted)} on this host`, {
    hint: 'Name one that is there, as in: lifeboat install --systemd --user postgres',
  });
}
