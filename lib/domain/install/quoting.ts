import { LifeboatError } from '../errors.ts';

/** How a value is written so that systemd, a shell or cron reads exactly that value. */

const PLAIN = /^[A-Za-z0-9_./:=@,+-]+$/;

/**
 * A path in a list of paths, as in ReadWritePaths=: quoted where needed, its percent signs are no specifiers
 * (systemd.syntax(7), systemd.unit(5) "Specifiers").
 */
export function quoteForUnit(value: string): string {
  const text = requirePrintable(value).replaceAll('%', '%%');
  return PLAIN.test(text) ? text : `"${text.replace(/[\\"]/g, '\\$&')}"`;
}

/** One word of ExecStart=, where a dollar sign would name a variable (systemd.service(5), "Command lines"). */
export function quoteForExec(value: string): string {
  return quoteForUnit(value).replaceAll('$', '$$$$');
}

/** A value that is the whole rest of its line, as in EnvironmentFile=, which knows no quotes. */
export function escapeForUnit(value: string): string {
  return requirePrintable(value).replaceAll('%', '%%');
}

/** One word of a command of sh. @throws LifeboatError SETTINGS_INVALID for a line break */
export function quoteForShell(value: string): string {
  const text = requirePrintable(value);
  return PLAIN.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A whole command as crontab(5) wants it: an unescaped percent sign would be a line break. */
export function escapeForCron(command: string): string {
  return command.replaceAll('%', String.raw`\%`);
}

/** @throws LifeboatError SETTINGS_INVALID: a line break would add lines of its own to a unit or a crontab */
function requirePrintable(value: string): string {
  if (!/[\p{Cc}\u2028\u2029]/u.test(value)) return value;
  throw new LifeboatError(
    'SETTINGS_INVALID',
    `${JSON.stringify(value)} holds a control character: it cannot be part of a unit or a crontab`,
    {
      hint: 'Choose another path, then run the command again.',
    },
  );
}
