/** Addresses of the AWS console, for messages. */

/** The command's output on one host. */
export function consoleOutputUrl(region: string, commandId: string, instanceId: string): string {
  const path = `systems-manager/run-command/${encodeURIComponent(commandId)}/${encodeURIComponent(instanceId)}`;
  return `https://${consoleHost(region)}/${path}?region=${region}`;
}

function consoleHost(region: string): string {
  if (region.startsWith('cn-')) return `${region}.console.amazonaws.cn`;
  if (region.startsWith('us-gov-')) return `${region}.console.amazonaws-us-gov.com`;
  return `${region}.console.aws.amazon.com`;
}
