export interface Clock {
  now(): Date;
  /** Milliseconds that never jump, for durations: the wall clock may be set while a backup runs. */
  monotonic(): number;
  sleep(milliseconds: number): Promise<void>;
}

/** Log lines as the user's documents show them; the edge adds `[2026-01-17 08:55:00] `. */
export interface Log {
  info(line: string): void;
  warn(line: string): void;
}

/** Long work on a terminal shows a bar; elsewhere nothing is drawn. */
export interface Progress {
  /** @param total bytes expected, an estimate; 0 when unknown */
  start(label: string, total: number): void;
  /** @param done bytes so far. @param detail what is being worked on, such as a table's name */
  update(done: number, detail?: string): void;
  stop(): void;
}

/** Held until `release` or the end of the process, however it ends: the kernel keeps it, no file is left to clean up. */
export interface HeldLock {
  release(): Promise<void>;
}

export interface HostFacts {
  readonly name: string;
  readonly platform: string;
  readonly architecture: string;
  readonly libc: string;
}

export interface Host {
  facts(): HostFacts;
  /** @throws LifeboatError BUSY, naming the run that holds it. */
  lock(name: string, holder: string): Promise<HeldLock>;
  /** Free bytes for this user on the disk that holds `path` (or its nearest existing parent). */
  freeBytes(path: string): Promise<number>;
  newRunId(): string;
  /** Which boot of the host this is, and how long ago it was; never set by anyone. */
  boot(): { readonly id: string; readonly uptimeMs: number };
}

/** What every command is given that works for long. */
export interface LongWork {
  readonly host: Host;
  readonly clock: Clock;
  readonly log: Log;
  readonly progress: Progress;
  /** Its reason is the LifeboatError (INTERRUPTED, TERMINATED) to throw. */
  readonly interrupted: AbortSignal;
}
