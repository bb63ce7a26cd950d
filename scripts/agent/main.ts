import { setFlagsFromString } from 'node:v8';
import { LIFEBOAT_VERSION } from './version.ts';

// A dump's bytes live outside of V8's heap, which stays at some 20 MB, but they make V8 believe that memory is short: it
// would mark that heap from end to end dozens of times a gigabyte, an eighth of a backup's CPU time.
setFlagsFromString('--no-incremental-marking');

// Answered before anything is loaded: monitoring and the deployment ask for it often.
if (process.argv[2] === '--version' && process.argv.length === 3) {
  console.log(LIFEBOAT_VERSION);
} else {
  const { runCommandLine } = await import('./command-line/command-line.ts');
  await runCommandLine(process.argv);
}
