import { LifeboatError } from '../errors.ts';
import { escapeForCron, quoteForShell } from './quoting.ts';
import { markerOf, type ScheduledBackup } from './schedule.ts';

export interface CronBackup extends ScheduledBackup {
  readonly logFile: string;
  /** Whether the host's own time zone, which cron goes by, is UTC all year. */
  readonly zoneIsUtc: boolean;
}

/** Vixie cron reads a command into a buffer of 1000 bytes and silently drops what is longer. */
const LONGEST_LINE = 990;

/** cron.d skips names that run-parts would not take, those with a dot among them (cron(8)). */
export function cronFileName(app: string): string {
  return `${app.replaceAll('.', '_')}-backup`;
}

/** A file for /etc/cron.d, whose lines name the user. */
export function renderCronFile(backup: CronBackup): string {
  return [
    markerOf(backup.app),
    ...explainSchedule(backup),
    'SHELL=/bin/sh',
    'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    renderCronLine(backup, `${backup.user} `),
    '',
  ].join('\n');
}

/** The lines for a user's own crontab, between marks by which they are found again. */
export function renderCrontabBlock(backup: CronBackup): string {
  const [begin, end] = blockMarks(backup.app);
  return [begin, ...explainSchedule(backup), renderCronLine(backup, ''), end].join('\n');
}

/**
 * `crontab` with the app's lines replaced, added, or (without `block`) taken out; every other line stays as it is.
 * @throws LifeboatError INSTALL_FAILED when one of the two marks is missing
 */
export function editCrontab(crontab: string, app: string, block: string | undefined): string {
  const lines = crontab === '' ? [] : crontab.replace(/\n$/, '').split('\n');
  const [begin, end] = blockMarks(app);
  const from = lines.indexOf(begin);
  const to = lines.indexOf(end);
  if (from === -1 && to === -1) return joinLines([...lines, ...(block === undefined ? [] : [block])]);
  if (from === -1 || to < from) {
    throw new LifeboatError(
      'INSTALL_FAILED',
      `The crontab holds only one of the lines ${JSON.stringify(begin)} and ${JSON.stringify(end)}`,
      {
        hint: 'Remove what is left of that block (crontab -e), then run the command again.',
      },
    );
  }
  return joinLines([
    ...lines.slice(0, from),
    ...(block === undefined ? [] : [block]),
    ...lines.slice(to + 1),
  ]);
}

function joinLines(lines: readonly string[]): string {
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function blockMarks(app: string): [begin: string, end: string] {
  return [`# lifeboat install: begin ${app}`, `# lifeboat install: end ${app}`];
}

function explainSchedule({ zoneIsUtc }: CronBackup): string[] {
  return zoneIsUtc
    ? ['# 02:00 UTC: this host’s time zone is UTC. Run lifeboat install again should it change.']
    : [
        '# 02:00 UTC. cron goes by this host’s own time zone, in which that hour moves with daylight saving time (and not every',
        '# cron knows CRON_TZ), so the clock is asked every quarter of an hour.',
      ];
}

/** Bytes of the log: when it has become longer, only its end is kept. A good night writes about a thousand. */
const LONGEST_LOG = 1_000_000;
const KEPT_LOG = 500_000;

/**
 * In place, because only root may rename a file in /var/log; and by the line itself, because a user's own crontab has no
 * logrotate, nor has every host.
 */
const SHORTEN_LOG = `[ "$(wc -c < "$log")" -lt ${LONGEST_LOG} ] || { end=$(tail -c ${KEPT_LOG} "$log" | tail -n +2); printf '%s\\n' "$end" > "$log"; }`;

/** @param user with a space behind it, or empty */
function renderCronLine(backup: CronBackup, user: string): string {
  const [log, environment] = [quoteForShell(backup.logFile), quoteForShell(backup.environmentFile)];
  const run = `log=${log}; exec >> "$log" 2>&1; ${SHORTEN_LOG}; set -a; . ${environment}; exec ${backup.command.map(quoteForShell).join(' ')}`;
  // A busy cron may start a minute late, never a quarter of an hour.
  const line = backup.zoneIsUtc
    ? `0 2 * * * ${user}${escapeForCron(run)}`
    : `*/15 * * * * ${user}${escapeForCron(`case $(date -u +%H%M) in 020?|021[0-4]) ${run};; esac`)}`;
  if (new TextEncoder().encode(line).length <= LONGEST_LINE) return line;
  throw new LifeboatError(
    'SETTINGS_INVALID',
    `The line for cron would be longer than the ${LONGEST_LINE} bytes that it reads`,
    {
      hint: 'Install lifeboat under a shorter path, or run: lifeboat install --systemd',
    },
  );
}
