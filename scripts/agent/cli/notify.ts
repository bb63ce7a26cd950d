import type { Answer } from '../answer.ts';
import { notify } from '../commands/notify.ts';
import { openContext } from '../context.ts';
import { renderNotify } from '../render/notify.ts';

export async function runNotify(): Promise<Answer> {
  const context = openContext({ json: true });
  const result = await notify(context, { app: context.settings.app });
  return {
    lines: renderNotify(result),
    json: { operation: 'notify', succeeded: result.failure === undefined, messages: result.deliveries },
    failure: result.failure,
  };
}
