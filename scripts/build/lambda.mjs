import { mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { REQUIRE_BANNER } from './bundle.mjs';
import { ROOT } from './project.mjs';

/** The folders under lambda/ that hold a handler. */
const LAMBDAS = ['start-run', 'restore', 'report-run', 'watch', 'slack'];

/** What a function may weigh: it is fetched and parsed with every cold start. */
const LARGEST_BUNDLE = 1_000_000;

/**
 * Bundles every handler into `<out>/<name>/index.mjs`, whole with the parts of the AWS SDK that it uses, so that what was
 * tested is what is deployed, whatever SDK the runtime brings. Each appears whole or not at all.
 * @param {{ out: string }} options
 * @returns {Promise<{ file: string, bytes: number }[]>}
 */
export async function buildLambdas({ out }) {
  const unfinished = `${out}.${process.pid}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  try {
    await bundle(unfinished);
    return LAMBDAS.map((name) => install(join(unfinished, name), join(out, name)));
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
}

/** zod brings its messages in fifty languages, a quarter of a bundle; all of ours are English. */
const ENGLISH_ZOD = {
  name: 'english-zod',
  setup: ({ onLoad }) => {
    onLoad({ filter: /[\\/]zod[\\/]v4[\\/]locales[\\/]index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js';",
    }));
  },
};

async function bundle(outdir) {
  const entries = LAMBDAS.map((name) => [`${name}/index`, join('lambda', name, 'index.ts')]);
  await build({
    absWorkingDir: ROOT,
    entryPoints: Object.fromEntries(entries),
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    // The SDK's ES modules let what is not used be left out: a third of the size.
    mainFields: ['module', 'main'],
    minify: true,
    plugins: [ENGLISH_ZOD],
    legalComments: 'none',
    banner: { js: REQUIRE_BANNER },
    logLevel: 'warning',
  });
}

function install(from, to) {
  const { size } = statSync(join(from, 'index.mjs'));
  if (size > LARGEST_BUNDLE)
    throw new Error(`${to}/index.mjs has ${size} bytes; ${LARGEST_BUNDLE} are the most`);
  mkdirSync(join(to, '..'), { recursive: true });
  rmSync(to, { recursive: true, force: true });
  renameSync(from, to);
  return { file: join(to, 'index.mjs'), bytes: size };
}
