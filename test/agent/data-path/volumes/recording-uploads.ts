import { LifeboatError } from '../../../../lib/domain/errors.ts';
import type { Upload } from '../../../../scripts/agent/ports/store.ts';

export type UploadState = 'open' | 'complete' | 'given up';

/** Uploads into memory, with what happened to each; `fail` makes one's next write fail, `hold` its completion wait. */
export class RecordingUploads {
  readonly contents = new Map<string, Buffer>();
  readonly states = new Map<string, UploadState>();
  /** The most that were open at once. */
  mostOpen = 0;
  failOn: string | undefined;
  beforeComplete: (name: string) => Promise<void> = () => Promise.resolve();

  readonly open = (name: string): Promise<Upload> => {
    const pieces: Buffer[] = [];
    this.states.set(name, 'open');
    this.mostOpen = Math.max(
      this.mostOpen,
      [...this.states.values()].filter((each) => each === 'open').length,
    );
    return Promise.resolve({
      write: async (chunk) => {
        if (this.failOn === name) throw new LifeboatError('S3_UNAVAILABLE', `${name} was cut off`);
        pieces.push(Buffer.from(chunk));
        await Promise.resolve();
      },
      complete: async () => {
        await this.beforeComplete(name);
        const body = Buffer.concat(pieces);
        this.contents.set(name, body);
        this.states.set(name, 'complete');
        return { key: name, size: body.length, modifiedAt: new Date(0), metadata: {} };
      },
      abort: async () => {
        if (this.states.get(name) === 'open') this.states.set(name, 'given up');
        await Promise.resolve();
      },
    });
  };
}
