import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import type { OperationsAssets } from '../../lib/infra/operations/built-assets.ts';
import type { Account } from './cloudformation/deployed-stacks.ts';

const PROCESS = path.join(import.meta.dirname, 'synthesis.ts');

export interface SynthesisOptions {
  /** As in lifeboat.config.json. */
  readonly config: unknown;
  /** Left out: what `npm run build` made. */
  readonly assets?: OperationsAssets;
  /** The cloud assembly’s folder. */
  readonly cdkOut: string;
  readonly account: Account;
}

/** What `cdk synth` does: configuration to templates, checked by cdk-nag. @throws Error with what it printed */
export async function synthesize(options: SynthesisOptions): Promise<void> {
  await promisify(execFile)(process.execPath, [PROCESS, JSON.stringify(options)]);
}
