import { normalise } from '../normalise.ts';
import type { Template } from '../synthesize.ts';
import { configuration, fullConfiguration, synthesize } from './stage.ts';

/** The documents' script is source itself; here it would stand twice. */
function withoutScript(template: object): Template {
  const text = JSON.stringify(template, (key, value: unknown) =>
    key === 'runCommand' ? '<run-agent.sh>' : value,
  );
  return JSON.parse(text) as Template;
}

describe('The template of the operations stack', () => {
  it('changes only on purpose', () => {
    expect(normalise(withoutScript(synthesize(configuration()).toJSON()))).toMatchSnapshot();
  });

  it('with everything that can be configured changes only on purpose', () => {
    const { Resources } = synthesize(
      fullConfiguration({
        schedule: { at: '03:30', timeZone: 'Europe/Berlin' },
        hostRoleName: 'database-hosts',
      }),
    ).toJSON() as Template;
    // What is not there with less configured, or differs; the rest stands in the other snapshot.
    const usual = Object.keys(synthesize(configuration()).toJSON()['Resources'] as object);
    const added = Object.entries(Resources).filter(
      ([id]) => !usual.includes(id) || /HostPolicy|Role|NotificationsKey/.test(id),
    );
    expect(normalise({ Resources: Object.fromEntries(added) })).toMatchSnapshot();
  });
});
