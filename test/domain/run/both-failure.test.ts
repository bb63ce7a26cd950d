import { LifeboatError } from '../../../lib/domain/errors.ts';
import { failureOfBoth } from '../../../lib/domain/run/both-failure.ts';

const DUMP = 'hostmaster_db_20260117_020000';
const BASE = 'hostmaster_base_20260117_020100';
const denied = new LifeboatError('S3_DENIED', 'no right to write', { hint: 'Give it.' });
const down = new LifeboatError('DB_CONNECT', 'no server', { hint: 'Start it.' });

describe('A dump and a base backup', () => {
  it('of which both were made are no failure', () => {
    expect(failureOfBoth({ made: DUMP }, { made: BASE })).toBeUndefined();
  });

  it('of which one failed is a failure that says what stands', () => {
    expect(failureOfBoth({ made: DUMP }, { failure: denied })).toMatchObject({
      code: 'S3_DENIED',
      exitStatus: 5,
      message: `The base backup failed, the dump ${DUMP} stands: no right to write`,
      hint: 'Give it.',
    });
    expect(failureOfBoth({ failure: down }, { made: BASE })).toMatchObject({
      code: 'DB_CONNECT',
      message: `The dump failed, the base backup ${BASE} stands: no server`,
    });
  });

  it('that both failed end with the code of the worse, and say it of each', () => {
    const failure = failureOfBoth({ failure: denied }, { failure: down });
    expect(failure).toMatchObject({ code: 'DB_CONNECT', exitStatus: 4 });
    expect(failure?.message).toBe(
      'Dump and base backup failed.\nDump: no right to write\nBase backup: no server',
    );
    expect(failure?.hint).toBe('Give it.\nBase backup: Start it.');
    expect(failureOfBoth({ failure: down }, { failure: down })?.message).toBe(
      'Dump and base backup failed: no server',
    );
  });

  it('of which the second was not begun end as the first did', () => {
    expect(failureOfBoth({ failure: down }, undefined)).toBe(down);
  });
});
