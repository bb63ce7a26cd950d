/** Whether what is sent to `hostname` (as URL shows it) never leaves this host, so that it may go unencrypted. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
