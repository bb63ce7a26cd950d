import { LIFEBOAT_VERSION } from './version.ts';

// Answered before anything is loaded: monitoring and the deployment ask for it often.
if (process.argv[2] === '--version' && process.argv.length === 3) {
  console.log(LIFEBOAT_VERSION);
} else {
  const { runCommandLine } = await import('./command-line.ts');
  await runCommandLine(process.argv);
}
