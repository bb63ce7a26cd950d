import { downloadContent } from './download-content.ts';
import { interpolate, type CommandDocument, type DocumentStep, type ParameterValues } from './document.ts';
import { runShellScript } from './run-shell-script.ts';
import type { StepContext, StepResult, StepStatus } from './step.ts';

export interface StepRecord extends StepResult {
  readonly name: string;
  readonly startedAt: Date;
  readonly finishedAt: Date;
}

export type DocumentStatus = 'Success' | 'Failed' | 'TimedOut' | 'Cancelled';

const ACTIONS = { 'aws:runShellScript': runShellScript, 'aws:downloadContent': downloadContent };
/** A script that reboots its host for ever is not waited for. */
const MAX_REBOOTS = 3;

/**
 * Runs the steps in their order, as the agent does. A failed step does not stop the next ones unless `onFailure: exit`
 * stands inside its inputs; a timed-out one does not stop them even then.
 * @param onStep called as each step begins and ends
 */
export async function runDocument(
  document: CommandDocument,
  values: ParameterValues,
  contextOf: (stepName: string) => StepContext,
  onStep: (records: readonly StepRecord[]) => void = () => undefined,
): Promise<{ status: DocumentStatus; steps: readonly StepRecord[] }> {
  const steps: StepRecord[] = [];
  let skipping = false;
  for (const [index, step] of document.mainSteps.entries()) {
    const context = contextOf(step.name);
    const inputs = interpolate(step.inputs, document, values) as Record<string, unknown>;
    const startedAt = new Date();
    // The agent takes no notice of finallyStep in any other than the last.
    const comesAnyway = inputs['finallyStep'] === true && index === document.mainSteps.length - 1;
    const result = await runStep(step, inputs, context, skipping && !comesAnyway);
    steps.push({ ...result, name: step.name, startedAt, finishedAt: new Date() });
    onStep(steps);
    skipping ||= endsDocument(result, inputs);
  }
  return { status: overall(steps.map(({ status }) => status)), steps };
}

async function runStep(
  step: DocumentStep,
  inputs: Record<string, unknown>,
  context: StepContext,
  skipping: boolean,
): Promise<StepResult> {
  if (context.cancelled.aborted) return empty('Cancelled', 1);
  if (!meetsPrecondition(step)) return empty('Skipped', 0);
  if (skipping) return empty('Skipped', 0);
  let result = await ACTIONS[step.action](inputs, context);
  // After the reboot the same step starts again from its first line; its output is appended.
  for (let reboots = 0; result.status === 'SuccessAndReboot' && reboots < MAX_REBOOTS; reboots += 1) {
    const again = await ACTIONS[step.action](inputs, context);
    result = { ...again, stdout: result.stdout + again.stdout, stderr: result.stderr + again.stderr };
  }
  return result;
}

function endsDocument(result: StepResult, { onFailure, onSuccess }: Record<string, unknown>): boolean {
  if (result.skipsRest) return true;
  if (result.status === 'Failed') return onFailure === 'exit' || onFailure === 'successAndExit';
  return result.status === 'Success' && onSuccess === 'exit';
}

function meetsPrecondition({ precondition = {} }: DocumentStep): boolean {
  return Object.values(precondition).every(([left = '', right = '']) => {
    const [a, b] = [left, right].map((each) => (each === 'platformType' ? 'Linux' : each).toLowerCase());
    return a === b;
  });
}

/** Failed > TimedOut > Cancelled > Success; skipped counts as success. */
function overall(statuses: readonly StepStatus[]): DocumentStatus {
  for (const status of ['Failed', 'TimedOut', 'Cancelled'] as const) {
    if (statuses.includes(status)) return status;
  }
  return 'Success';
}

const empty = (status: StepStatus, code: number): StepResult => ({
  status,
  code,
  stdout: '',
  stderr: '',
  skipsRest: false,
});
