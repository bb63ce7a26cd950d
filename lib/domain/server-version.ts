/** @param versionNumber as `server_version_num`: 150004 is 15.4 */
export function majorOf(versionNumber: number): number {
  return Math.floor(versionNumber / 10_000);
}
