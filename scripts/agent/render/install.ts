import type { InstallResult, InstallStep } from '../commands/install/install-steps.ts';

export function renderInstall({ files, steps, warnings, next }: InstallResult): string[] {
  return [
    ...files.flatMap(({ path, text }) => [`# ${path}`, ...text.replace(/\n$/, '').split('\n'), '']),
    ...steps.map(renderStep),
    ...warnings.map((warning) => `⚠️ ${warning}`),
    ...next.map((command) => `Run: ${command}`),
  ];
}

function renderStep({ what, subject, note }: InstallStep): string {
  const mark = what === 'kept' ? '⚠️' : '✅';
  return `${mark} ${what}: ${subject}${note === undefined ? '' : ` (${note})`}`;
}
