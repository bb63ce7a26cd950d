/** What is scheduled, whichever of systemd and cron starts it. */
export interface ScheduledBackup {
  readonly app: string;
  /** Who runs it. */
  readonly user: string;
  /** Program and arguments; the program's path is absolute. */
  readonly command: readonly string[];
  readonly environmentFile: string;
}

/** Files that an installation made begin with this line; no other file is ever replaced or removed. */
export function markerOf(app: string): string {
  return `# Made by lifeboat install for ${app}: changes are lost when it runs again, --uninstall removes this file.`;
}

/** Whether a file begins with the mark of this app's installation. */
export function isOurs(text: string, app: string): boolean {
  return text.startsWith(`${markerOf(app)}\n`);
}
