import { describeAlarm, parseAlarm, type AlarmNotice } from '../../../lib/domain/notify/alarm-wording.ts';
import { asciiSubject } from '../../../lib/domain/notify/message.ts';
import { withLinks } from '../../../lib/domain/notify/run-wording.ts';
import { alarmName, ALARMS, runbookAnchor } from '../../../lib/domain/watch/alarms.ts';

const CONTEXT = { deployment: 'My-Boat', runbookUrl: 'docs/runbook.md', dashboardUrl: undefined };
const NOTICE: AlarmNotice = {
  AlarmName: 'My-Boat-dead-letters',
  NewStateValue: 'ALARM',
  NewStateReason: 'Threshold Crossed',
  StateChangeTime: '2026-01-18T05:00:00.123+0000',
};

describe('an alarm', () => {
  it.each(Object.values(ALARMS))('$id is told with its title and its section of the runbook', (rule) => {
    const series = rule.per === 'series' ? '-shop-2' : '';
    const message = describeAlarm({ ...NOTICE, AlarmName: `My-Boat-${rule.id}${series}` }, CONTEXT);
    expect(message.subject).toBe(`🚨 ALARM ${rule.title}${series === '' ? '' : ': shop-2'}`);
    expect(message.body).toContain(`Runbook: docs/runbook.md#${runbookAnchor(rule.runbookHeading)}`);
  });

  it('of one of very many series is called by the series alone', () => {
    const name = alarmName('My-Boat', ALARMS.backupTooOld, '3-shop', 7);
    expect(name).toBe('My-Boat-backup-too-old-3-shop@7');
    const { subject } = describeAlarm({ ...NOTICE, AlarmName: name }, CONTEXT);
    expect(subject).toBe('🚨 ALARM The newest verified backup is too old: 3-shop');
  });

  it('that is over says so', () => {
    expect(describeAlarm({ ...NOTICE, NewStateValue: 'OK' }, CONTEXT).subject).toMatch(/^✅ OK again /);
  });

  it('does not name the runbook twice, and one of others is shown as it is called', () => {
    const link = 'See https://wiki/runbook#alarm-dead-letters';
    const { body } = describeAlarm({ ...NOTICE, AlarmDescription: link }, CONTEXT);
    expect(body.match(/#alarm-dead-letters/g)).toHaveLength(1);
    expect(describeAlarm({ ...NOTICE, AlarmName: 'CPU\nhigh' }, CONTEXT).subject).toBe('🚨 ALARM CPU high');
  });

  it.each(['', 'plain text', '{', '{}', '[]', '{"AlarmName":7}'])('is not read out of %j', (text) => {
    expect(parseAlarm(text)).toBeUndefined();
  });
});

describe('what SNS takes', () => {
  it('is a subject of at most a hundred printable characters, never empty', () => {
    expect(asciiSubject('🔄 HostMaster DB Backup SUCCESS')).toBe('HostMaster DB Backup SUCCESS');
    expect(asciiSubject('🔄\n')).toBe('Lifeboat');
    expect(asciiSubject('x'.repeat(200))).toHaveLength(100);
  });

  it('keeps the links below a body that was cut', () => {
    const links = { commandId: 'c', outputUrl: 'https://o', dashboardUrl: 'https://d' };
    const { body } = withLinks({ subject: 's', body: 'x'.repeat(50_000) }, links);
    expect(body).toMatch(
      /… 15000 more characters …\nCommand: c\nOutput: https:\/\/o\nDashboard: https:\/\/d$/,
    );
  });
});
