import { addOperations, configuration, newApp } from './stage.ts';

// The CDK prints its warnings as well; the tests read them from the assembly.
jest.spyOn(console, 'error').mockReturnValue();

/** What `cdk synth` would warn of. */
function warnings(notifications: Record<string, unknown>): string {
  const app = newApp({ warn: true });
  const { stackName } = addOperations(app, configuration({ notifications }));
  const { messages } = app.synth().getStackByName(stackName);
  return messages.map(({ entry }) => JSON.stringify(entry.data)).join('\n');
}

const RUNBOOK = { runbookUrl: 'https://wiki.example.com/runbook' };

describe('at synth', () => {
  test('it is said that nobody hears of a failed backup, where that is so', () => {
    expect(warnings(RUNBOOK)).toContain('nobody hears of a failed backup');
    expect(warnings({ ...RUNBOOK, emails: ['dba@example.com'] })).toBe('');
    expect(warnings({ ...RUNBOOK, slackParameter: '/slack' })).toBe('');
  });

  test('it is said that a runbook in the checkout is no link for whom an alarm wakes', () => {
    const emails = ['dba@example.com'];
    expect(warnings({ emails })).toContain('runbookUrl is docs/runbook.md, which nobody can click');
    expect(warnings({ emails, runbookUrl: 'wiki/runbook' })).toContain('is wiki/runbook');
  });
});
