import type { Message } from '../../../lib/domain/notify/message.ts';

/** One configured way to reach people. `send` throws a LifeboatError UNDELIVERED that never holds a secret. */
export interface Channel {
  readonly name: 'slack' | 'email' | 'sns';
  send(message: Message): Promise<void>;
}

export interface Delivery {
  readonly name: Channel['name'];
  readonly delivered: boolean;
  /** Why not. */
  readonly error?: string;
}

/**
 * Sends on every channel at once and never throws: a message that cannot be delivered is reported, and changes nothing
 * about the run that it tells of.
 */
export async function deliver(channels: readonly Channel[], message: Message): Promise<Delivery[]> {
  return await Promise.all(channels.map((channel) => deliverOn(channel, message)));
}

async function deliverOn(channel: Channel, message: Message): Promise<Delivery> {
  try {
    await channel.send(message);
    return { name: channel.name, delivered: true };
  } catch (error) {
    return {
      name: channel.name,
      delivered: false,
      error: error instanceof Error ? error.message : String(error),
    };
  }
}
