import { Validations } from 'aws-cdk-lib/core';
import { SecurityChecks } from '../../../lib/infra/security-checks.ts';
import { findingsOf } from '../findings.ts';
import { addOperations, configuration, fullConfiguration, newApp } from './stage.ts';

const CONFIGURATIONS = [
  ['a small configuration', configuration()],
  ['everything that can be configured', fullConfiguration()],
  ['a time zone', configuration({ schedule: { at: '03:30', timeZone: 'Europe/Berlin' } })],
  ['a role of the hosts that exists already', fullConfiguration({ hostRoleName: 'database-hosts' })],
] as const;

describe('cdk-nag’s rules for AWS solutions', () => {
  test.each(CONFIGURATIONS)(
    'find nothing that is not acknowledged with a reason in a deployment with %s',
    (_name, config) => {
      const app = newApp();
      addOperations(app, config);
      Validations.of(app).addPlugins(new SecurityChecks(app));
      expect(() => app.synth()).not.toThrow();
    },
  );

  test.each(CONFIGURATIONS)('find these, acknowledged or not, and no more with %s', (_name, config) => {
    const app = newApp();
    addOperations(app, config);
    expect(findingsOf(app)).toMatchSnapshot();
  });
});
