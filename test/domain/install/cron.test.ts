import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  editCrontab,
  renderCronFile,
  renderCrontabBlock,
  type CronBackup,
} from '../../../lib/domain/install/cron.ts';

const BACKUP: CronBackup = {
  app: 'hostmaster',
  user: 'postgres',
  command: ['/opt/lifeboat/bin/lifeboat', 'backup'],
  environmentFile: '/etc/lifeboat/hostmaster.env',
  logFile: '/var/log/hostmaster-backup.log',
  zoneIsUtc: true,
};

function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1)!;
}

describe('the file for cron', () => {
  it('runs at two where the host’s zone is UTC', () => {
    expect(lastLine(renderCronFile(BACKUP))).toBe(
      '0 2 * * * postgres log=/var/log/hostmaster-backup.log; exec >> "$log" 2>&1; ' +
        '[ "$(wc -c < "$log")" -lt 1000000 ] || { end=$(tail -c 500000 "$log" | tail -n +2); printf \'\\%s\\n\' "$end" > "$log"; }; ' +
        'set -a; . /etc/lifeboat/hostmaster.env; exec /opt/lifeboat/bin/lifeboat backup',
    );
  });

  it('keeps the end of a log that has become long, by whole lines, and adds to one that has not', () => {
    const folder = mkdtempSync(join(tmpdir(), "lifeboat it's a log "));
    const [logFile, environmentFile] = [join(folder, 'backup.log'), join(folder, 'settings')];
    writeFileSync(environmentFile, '');
    const line = lastLine(renderCronFile({ ...BACKUP, logFile, environmentFile, command: ['echo', 'ran'] }));
    const night = (): string => {
      execFileSync('/bin/sh', ['-c', line.replace('0 2 * * * postgres ', '').replaceAll('\\%', '%')]);
      return readFileSync(logFile, 'utf8');
    };
    try {
      writeFileSync(logFile, 'a short one\n');
      expect(night()).toBe('a short one\nran\n');
      const said = Array.from({ length: 20_000 }, (_, number) => `${number}: ${'x'.repeat(50)}\n`);
      writeFileSync(logFile, said.join(''));
      const [kept, last] = [night(), said.at(-1)!];
      expect(kept.length).toBeGreaterThan(499_000);
      expect(kept.length).toBeLessThan(501_000);
      expect(kept.endsWith(`${last}ran\n`)).toBe(true);
      expect(said).toContain(kept.slice(0, kept.indexOf('\n') + 1));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('asks the clock where the host’s zone is another, and lets exactly one quarter of a day through', () => {
    const line = lastLine(renderCronFile({ ...BACKUP, zoneIsUtc: false }));
    expect(line).toMatch(/^\*\/15 \* \* \* \* postgres case \$\(date -u \+\\%H\\%M\) in /);
    // What cron hands to the shell, with the clock and the backup replaced.
    const command = line.replace(/^(\S+ ){5}postgres /, '').replaceAll('\\%', '%');
    const quarters = Array.from({ length: 96 }, (_, index) => index * 15 + (index % 5 === 0 ? 2 : 0));
    const started = quarters.filter((minute) => {
      const clock = [Math.floor(minute / 60), minute % 60]
        .map((part) => String(part).padStart(2, '0'))
        .join('');
      const script = command.replace('$(date -u +%H%M)', clock).replace(/exec >>.*;;/, 'echo started;;');
      return execFileSync('/bin/sh', ['-c', script]).toString() === 'started\n';
    });
    expect(started).toEqual([120]);
  });

  it('keeps paths with spaces, quotes and percent signs whole, through cron and the shell', () => {
    const nasty = `/opt/it's 100% "mine" $HOME`;
    const line = lastLine(renderCronFile({ ...BACKUP, command: [nasty, 'backup'] }));
    expect(line.replaceAll('\\%', '')).not.toContain('%');
    const command = line.replace(/^0 2 \* \* \* postgres .*exec /, '').replaceAll('\\%', '%');
    expect(execFileSync('/bin/sh', ['-c', `printf '<%s>' ${command}`]).toString()).toBe(`<${nasty}><backup>`);
  });

  it('refuses a line that cron would cut, and a path that would add one', () => {
    const long = `/opt/${'x'.repeat(1000)}`;
    expect(() => renderCronFile({ ...BACKUP, command: [long] })).toThrow('longer than the 990 bytes');
    expect(() => renderCronFile({ ...BACKUP, command: ['/opt/a\n* * * * * root id'] })).toThrow(
      'control character',
    );
  });
});

describe('a user’s crontab', () => {
  const block = renderCrontabBlock(BACKUP);
  const theirs = '# mine\n5 4 * * * true\n';

  it('gains the lines once and changes nothing else', () => {
    const once = editCrontab(theirs, 'hostmaster', block);
    expect(once).toBe(`${theirs}${block}\n`);
    expect(editCrontab(once, 'hostmaster', block)).toBe(once);
    expect(editCrontab('', 'hostmaster', block)).toBe(`${block}\n`);
  });

  it('loses exactly those lines again, wherever they stand', () => {
    const around = `${theirs}${block}\n6 4 * * * true\n`;
    expect(editCrontab(around, 'hostmaster', undefined)).toBe(`${theirs}6 4 * * * true\n`);
    expect(editCrontab(theirs, 'hostmaster', undefined)).toBe(theirs);
    expect(editCrontab('', 'hostmaster', undefined)).toBe('');
  });

  it('keeps the lines of another app', () => {
    const other = renderCrontabBlock({ ...BACKUP, app: 'shop' });
    expect(editCrontab(`${other}\n${block}\n`, 'hostmaster', undefined)).toBe(`${other}\n`);
  });

  it('is left alone when one of the marks is gone', () => {
    const broken = block.split('\n').slice(0, -1).join('\n');
    expect(() => editCrontab(broken, 'hostmaster', undefined)).toThrow('only one of the lines');
  });
});
