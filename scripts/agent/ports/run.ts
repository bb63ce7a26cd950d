import type { LifeboatError } from '../../../lib/domain/errors.ts';
import type { RunResult, WorkReport } from '../../../lib/domain/run/result.ts';
import type { Clock, Log } from './host.ts';

/** Everything that `run` touches. */
export interface RunPorts {
  readonly claims: RunClaims;
  readonly results: RunResults;
  readonly work: RunWork;
  /** What the series' runs look after besides; `undefined`: nothing. */
  readonly service: RunService | undefined;
  readonly site: RunSite;
  readonly clock: Clock;
  readonly log: Log;
  /** A failure that nobody has told of yet. */
  readonly tell: (failure: LifeboatError) => void;
}

/** The host's memory of the run ids that it has taken on. */
export interface RunClaims {
  /**
   * @returns false when the id was taken on before, by whoever and however that ended
   * @throws LifeboatError DISK_… when it cannot be known
   */
  claim(runId: string): Promise<boolean>;
}

/** Where the run's result lies. */
export interface RunResults {
  /**
   * `own`: the run was done. `foreign`: what lies in the result's place does not know the request's nonce.
   * @throws LifeboatError when the state bucket does not tell, soon
   */
  find(): Promise<'none' | 'own' | 'foreign'>;
  /** Writes it once. @throws LifeboatError OBJECT_EXISTS when another result is there, S3_… */
  put(result: RunResult): Promise<void>;
}

/** The operation itself, as the series' user. */
interface RunWork {
  /** @throws LifeboatError when it could not be begun, or ended without a report */
  do(): Promise<WorkReport>;
}

/** A service of the host that goes with its backups. Neither ever throws; both return warnings, one sentence each. */
export interface RunService {
  /** Before the work. */
  keep(): Promise<string[]>;
  /** After it. */
  check(): Promise<string[]>;
}

/** Where the agent runs, as SSM's agent tells. */
interface RunSite {
  readonly hostName: string;
  readonly instanceId: string | undefined;
  readonly commandId: string | undefined;
}
