import { LifeboatError } from '../../../lib/domain/errors.ts';
import type { Answer } from '../answer.ts';
import { openVerdicts } from '../catalog/verdicts.ts';
import { verify } from '../commands/catalog/verify.ts';
import { openContext } from '../context.ts';
import { openDumpFiles } from '../data-path/archive-files.ts';
import { digestReader } from '../data-path/digest.ts';
import { baseVerifier } from '../data-path/volumes/base-verifier.ts';
import { renderVerify, verifyAsJson } from '../render/verify.ts';
import { openWalStores } from '../wal-stores.ts';

export async function runVerify(
  options: Readonly<Record<string, unknown>>,
  id: string | undefined,
): Promise<Answer> {
  const all = options['all'] === true;
  if (all && id !== undefined) {
    throw new LifeboatError('USAGE', `Either --all or ${id}, not both`, {
      hint: 'Run: lifeboat verify --help',
    });
  }
  const context = openContext({ json: options['json'] === true });
  const { settings, host } = context;
  const wal = openWalStores(context);
  const ports = {
    ...context,
    digests: digestReader,
    bases: baseVerifier,
    files: openDumpFiles(settings.backupDir),
    verdicts: wal && openVerdicts({ ...context, state: wal.state }),
  };
  const result = await verify(ports, {
    app: settings.app,
    id,
    all,
    runId: settings.runId ?? host.newRunId(),
  });
  return { lines: renderVerify(result), json: verifyAsJson(result), failure: result.failure };
}
