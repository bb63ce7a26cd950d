import { LifeboatError } from '../errors.ts';

/**
 * A series is one app = one host + one database; its name is part of every file and key, so that no two series can touch
 * each other's files. Letters, digits, dot, dash and underscore only: the name goes into file names, S3 keys, systemd
 * unit names and log lines, and must be harmless in each.
 */
const APP_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** @throws LifeboatError SETTINGS_INVALID when `name` cannot be part of a file name. */
export function parseAppName(name: string): string {
  if (APP_NAME.test(name) && !name.includes('..')) return name;
  throw new LifeboatError(
    'SETTINGS_INVALID',
    `APP_NAME ${JSON.stringify(name)} cannot be part of a file name: use 1 to 63 letters, digits, ".", "-" or "_", starting with a letter or digit, without ".."`,
  );
}

/** The name as messages show it: `hostmaster` is the user's product HostMaster, any other is shown as typed. */
export function displayName(app: string): string {
  return app === 'hostmaster' ? 'HostMaster' : app;
}
