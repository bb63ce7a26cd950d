export type StepStatus = 'Success' | 'Failed' | 'TimedOut' | 'Cancelled' | 'Skipped' | 'SuccessAndReboot';

export interface StepResult {
  readonly status: StepStatus;
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The step's exit status asked for the steps after it to be skipped. */
  readonly skipsRest: boolean;
}

/** What a step sees of its host and its command. */
export interface StepContext {
  readonly stepName: string;
  /** `<agent's data>/document/orchestration/<command id>` */
  readonly orchestrationFolder: string;
  /** `downloads` in it; there only after something was downloaded. */
  readonly downloadsFolder: string;
  /** All of it: nothing of this process' own reaches a script. */
  readonly environment: Readonly<Record<string, string>>;
  /** What a script is started by; empty: by nothing else. */
  readonly through?: readonly string[];
  readonly cancelled: AbortSignal;
  readonly objects: ObjectSource;
}

/** S3, with the host's own credentials. */
export interface ObjectSource {
  /** Whether something lies under `key/`; denied counts as no. */
  isFolder(bucket: string, key: string): Promise<boolean>;
  /** @throws Error with S3's words */
  download(bucket: string, key: string, file: string): Promise<void>;
}
