import { readFileSync } from 'node:fs';
import path from 'node:path';
import openWabt from 'wabt';
import { PAGE_CHECK_PROGRAM } from '../../../../scripts/agent/data-path/pages/page-check-program.ts';

const SOURCE = path.resolve(import.meta.dirname, '../../../../scripts/agent/data-path/pages/page-check.wat');

it('The program that checks pages is what its source compiles to', async () => {
  const wabt = await openWabt();
  const module = wabt.parseWat('page-check.wat', readFileSync(SOURCE, 'utf8'));
  try {
    module.validate();
    const compiled = Buffer.from(module.toBinary({}).buffer).toString('base64');
    // After a change of the source this is what belongs into page-check-program.ts.
    expect(PAGE_CHECK_PROGRAM).toBe(compiled);
  } finally {
    module.destroy();
  }
});
