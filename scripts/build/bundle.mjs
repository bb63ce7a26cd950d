import { join } from 'node:path';
import { build } from 'esbuild';
import { ROOT } from './project.mjs';

/** CommonJS packages inside the bundle call `require` for Node's own modules; an ES module has none. */
export const REQUIRE_BANNER =
  "import { createRequire as createBundleRequire } from 'node:module'; const require = createBundleRequire(import.meta.url);";

/** What the agent runs in threads beside its own. */
const THREADS = { 'packing-thread': join(ROOT, 'scripts', 'agent', 'wal-archive', 'packing-thread.ts') };

/**
 * Bundles the agent into `folder`/main.mjs, its threads' programs and the chunks that its commands load on demand.
 * @param {{ entry: string, folder: string }} options
 */
export async function bundleAgent({ entry, folder }) {
  await build({
    absWorkingDir: ROOT,
    entryPoints: { main: entry, ...THREADS },
    outdir: folder,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    // The AWS SDK's CommonJS files lose their names when they are imported on demand from a bundle ("SNSClient is not a
    // constructor"); its ES modules keep them, and what is not used is left out.
    mainFields: ['module', 'main'],
    // Names and lines stay readable in the stack trace of a defect.
    minifySyntax: true,
    legalComments: 'none',
    banner: { js: REQUIRE_BANNER },
    // pg loads it only where someone installed it; the agent's host has nothing installed.
    external: ['pg-native'],
    logLevel: 'warning',
  });
}
