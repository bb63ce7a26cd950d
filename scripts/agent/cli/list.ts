import type { Answer } from '../answer.ts';
import { list } from '../commands/catalog/list.ts';
import { openContext } from '../context.ts';
import { listAsJson, renderList } from '../render/list.ts';

export async function runList(): Promise<Answer> {
  const context = openContext({ json: true });
  const { app, localRetentionDays, s3RetentionDays } = context.settings;
  const result = await list(context, { app, localDays: localRetentionDays, s3Days: s3RetentionDays });
  return {
    lines: renderList(app, result, context.clock.now()),
    json: listAsJson(result),
    failure: result.failure,
  };
}
