import { openTerminal } from '../../../scripts/agent/host/terminal.ts';
import type { Clock } from '../../../scripts/agent/ports/host.ts';

function open(isTTY: boolean) {
  let elapsed = 0;
  const written: string[] = [];
  const clock: Clock = {
    now: () => new Date('2026-01-17T08:55:00Z'),
    monotonic: () => elapsed,
    sleep: () => Promise.resolve(),
  };
  const terminal = openTerminal({ isTTY, columns: 80, write: (text) => written.push(text) }, clock);
  return { ...terminal, written, wait: (milliseconds: number) => (elapsed += milliseconds) };
}

describe('The terminal', () => {
  it('writes log lines as the user’s documents show them, each line of a longer message stamped', () => {
    const { log, written } = open(false);
    log.info('✅ Backup verified');
    log.warn('one\ntwo');
    expect(written.join('')).toBe(
      '[2026-01-17 08:55:00] ✅ Backup verified\n[2026-01-17 08:55:00] ⚠️  one\n[2026-01-17 08:55:00] two\n',
    );
  });

  it('draws nothing but lines where no one is looking', () => {
    const { progress, written, wait } = open(false);
    progress.start('Dumping', 100);
    wait(5000);
    progress.update(50, 'public.users');
    progress.stop();
    expect(written).toEqual([]);
  });

  it('shows share, bytes, rate, time left and table on a terminal, within one line', () => {
    const { progress, written, wait } = open(true);
    progress.start('Dumping', 100 * 1024 ** 2);
    wait(5000);
    progress.update(50 * 1024 ** 2, 'public.a_table_with_a_name_that_is_too_long_for_the_line');
    const drawn = written.join('');
    for (const part of ['████████░░░░░░░░', '50%', '50M', '10M/s', '5s left', 'public.a_table'])
      expect(drawn).toContain(part);
    expect(drawn.split('\u001B[2K').at(-1)!.length).toBeLessThan(80);
  });

  it('shows control characters of a name instead of obeying them', () => {
    const { log, progress, written, wait } = open(true);
    log.info('table \u001B[31mred\rx');
    progress.start('Dumping', 100);
    wait(5000);
    progress.update(50, 'public.\u001B]0;title\u0007\nx');
    const shown = written.join('').replaceAll('\r\u001B[2K', '');
    for (const control of ['\u001B', '\u0007', '\r']) expect(shown).not.toContain(control);
  });

  it('never claims to be done while bytes still come, though the total was underestimated', () => {
    const { progress, written, wait } = open(true);
    progress.start('Dumping', 100);
    wait(5000);
    progress.update(1000);
    expect(written.join('')).toContain('99%');
  });

  it('keeps log lines above the bar', () => {
    const { log, progress, written } = open(true);
    progress.start('Dumping', 100);
    log.info('hello');
    expect(written[0]).toBe('\r\u001B[2K');
    expect(written[1]).toContain('hello\n');
    expect(written[2]).toContain('Dumping');
    progress.stop();
    expect(written.at(-1)).toBe('\r\u001B[2K');
  });
});
