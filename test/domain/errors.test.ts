import {
  asLifeboatError,
  combineProblems,
  ERROR_CODES,
  EXIT_STATUS,
  LifeboatError,
} from '../../lib/domain/errors.ts';

describe('Errors', () => {
  it('never exit with a status that the SSM agent reads something else into', () => {
    for (const status of Object.values(EXIT_STATUS)) expect([137, 168, 169, 194]).not.toContain(status);
  });

  it('each have an exit status above zero and a hint', () => {
    for (const code of ERROR_CODES) {
      const error = new LifeboatError(code, 'x');
      expect(error.exitStatus).toBeGreaterThan(0);
      expect(error.hint).not.toBe('');
    }
  });

  it('are told all at once, a single one as it is', () => {
    const one = new LifeboatError('DB_CONNECT', 'no server', { hint: 'start it' });
    expect(combineProblems([])).toBeUndefined();
    expect(combineProblems([one])).toBe(one);
    const both = combineProblems([one, new LifeboatError('DISK_FULL', 'no room')])!;
    expect(both).toMatchObject({ code: 'PREFLIGHT_FAILED', exitStatus: EXIT_STATUS.refused });
    for (const text of ['no server', 'start it', 'no room']) expect(both.message).toContain(text);
  });

  it('take anything that was thrown for a defect, with its cause', () => {
    const cause = new TypeError('x is undefined');
    expect(asLifeboatError(cause)).toMatchObject({ code: 'BUG', exitStatus: EXIT_STATUS.bug, cause });
  });
});
