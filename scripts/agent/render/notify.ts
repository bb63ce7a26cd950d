import type { NotifyResult } from '../commands/notify.ts';

export function renderNotify({ deliveries }: NotifyResult): string[] {
  return deliveries.map(({ name, delivered, error }) =>
    delivered ? `✅ ${name}: test message sent` : `❌ ${name}: ${error ?? 'not delivered'}`,
  );
}
