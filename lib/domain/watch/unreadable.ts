import { oneLine, severalLines, type Message } from '../notify/message.ts';

export interface UnreadableRun {
  readonly runId: string;
  /** As in `s3://bucket/database/runs/…/request.json`. */
  readonly url: string;
  /** Why. */
  readonly problem: string;
  readonly dashboardUrl: string | undefined;
}

/** What people read of a run whose request says nothing: of which series it was, and whether it ran, nobody can tell. */
export function describeUnreadable({ runId, url, problem, dashboardUrl }: UnreadableRun): Message {
  return {
    subject: '🔄 Lifeboat: a run cannot be read',
    body: [
      `❌ The request of a run cannot be read, so it is not known of which series it is, nor how it ended`,
      `Why: ${severalLines(problem)}`,
      'What to do: look at the object, and whether agent and stack are of one version: deploy the stack again. Then start the run again.',
      `Object: ${oneLine(url)}`,
      `Run: ${oneLine(runId)}`,
      ...(dashboardUrl === undefined ? [] : [`Dashboard: ${dashboardUrl}`]),
    ].join('\n'),
  };
}
