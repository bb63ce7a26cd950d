import { tellingErrors } from '../../lambda/handler.ts';
import { openLog } from '../../lambda/log.ts';
import { LifeboatError, type ErrorCode } from '../../lib/domain/errors.ts';

const context = { awsRequestId: 'r', getRemainingTimeInMillis: () => 1000 };

/** How often a failure was counted, and what the invoker reads. */
async function failing(thrown: unknown, countAs?: string): Promise<{ counted: number; message: string }> {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string): void => void lines.push(JSON.parse(line) as Record<string, unknown>);
  const log = openLog({ deployment: 'Lifeboat', now: () => new Date(), write });
  const handle = tellingErrors(log, () => Promise.reject(thrown as Error), countAs);
  const error = await handle({}, context).catch((caught: Error) => caught);
  return {
    counted: lines.filter((line) => line['FunctionFailed'] === 1 && line['Function'] === countAs).length,
    message: (error as Error).message,
  };
}

describe('An error of a function that people invoke', () => {
  it.each<ErrorCode>(['USAGE', 'RESTORE_REFUSED', 'BACKUP_NOT_FOUND', 'HOST_UNREACHABLE'])(
    '%s answers what was asked: whoever asked reads it, nobody else is called',
    async (code) => {
      const error = new LifeboatError(code, 'You mistyped', { hint: 'Expected is {"operation":"backup"}' });
      expect(await failing(error, 'start-run')).toEqual({
        counted: 0,
        message: 'You mistyped\nExpected is {"operation":"backup"}',
      });
    },
  );

  it.each<ErrorCode>(['SSM_FAILED', 'S3_DENIED', 'S3_UNAVAILABLE', 'SETTINGS_INVALID'])(
    '%s is the function’s own, and is counted',
    async (code) => {
      expect(await failing(new LifeboatError(code, 'It broke'), 'start-run')).toMatchObject({ counted: 1 });
    },
  );

  it('that is a defect is counted, and nothing is of a function that only AWS invokes', async () => {
    expect(await failing(new TypeError('x is undefined'), 'start-run')).toMatchObject({ counted: 1 });
    expect(await failing(new TypeError('x is undefined'))).toMatchObject({ counted: 0 });
  });
});
