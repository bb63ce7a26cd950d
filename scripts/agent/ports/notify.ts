export interface Message {
  /** One line: `🔄 HostMaster DB Backup SUCCESS`. */
  readonly subject: string;
  /** Plain text, the lines below the subject. */
  readonly body: string;
}

/** One configured way to reach people. `send` throws a LifeboatError UNDELIVERED that never holds a secret. */
export interface Channel {
  readonly name: 'slack' | 'email' | 'sns';
  send(message: Message): Promise<void>;
}
