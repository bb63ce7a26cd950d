import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Answer } from '../answer.ts';
import { retention } from '../commands/catalog/retention.ts';
import { openContext } from '../context.ts';
import { renderRetention, retentionAsJson } from '../render/retention.ts';
import { openWalStores } from '../wal-stores.ts';

export async function runRetention(options: Readonly<Record<string, unknown>>): Promise<Answer> {
  const context = openContext({ json: options['json'] === true });
  const { settings } = context;
  const apply = options['apply'] === true;
  const wantsDeletion = options['delete'] === true;
  if (wantsDeletion && !apply) {
    throw new LifeboatError('USAGE', '--delete says how to --apply; it does nothing alone', {
      hint: 'Run: lifeboat retention --apply --delete',
    });
  }
  // The lock of the series: a backup that is just being made must not lose its predecessor in the middle.
  const lock = await context.host.lock(settings.app, 'retention');
  try {
    const result = await retention(
      { ...context, wal: openWalStores(context) },
      {
        app: settings.app,
        localDays: settings.localRetentionDays,
        s3Days: settings.s3RetentionDays,
        dryRun: options['dryRun'] === true,
        s3: apply ? (wantsDeletion ? 'delete' : 'tag') : 'leave',
      },
    );
    return { lines: renderRetention(result), json: retentionAsJson(result) };
  } finally {
    await lock.release();
  }
}
