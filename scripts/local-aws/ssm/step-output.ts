/** What the agent keeps of a step's output: the first bytes, and a note that there was more. */

const STREAM_LIMIT = 24_000;
const COMBINED_LIMIT = 2500;
const CUT = '\n--output truncated--';
const COMBINED_CUT = '\n---Output truncated---';
const ERROR_HEADING = '\n----------ERROR-------\n';

/** Gathers one stream; bytes beyond the limit are read and dropped. */
export class StreamOutput {
  readonly #chunks: Buffer[] = [];
  #kept = 0;
  #seen = 0;

  add(chunk: Buffer): void {
    this.#seen += chunk.length;
    const room = STREAM_LIMIT - this.#kept;
    if (room <= 0) return;
    const part = chunk.subarray(0, room);
    this.#chunks.push(part);
    this.#kept += part.length;
  }

  /** Bytes that are no UTF-8 become U+FFFD. */
  text(): string {
    const bytes = Buffer.concat(this.#chunks);
    if (this.#seen <= STREAM_LIMIT) return bytes.toString('utf8');
    return bytes.subarray(0, STREAM_LIMIT - CUT.length).toString('utf8') + CUT;
  }
}

/** `output` of ListCommandInvocations: both streams in 2,500 bytes. */
export function combineOutput(stdout: string, stderr: string): string {
  const whole = Buffer.from(stderr === '' ? stdout : `${stdout}${ERROR_HEADING}${stderr}`);
  if (whole.length <= COMBINED_LIMIT) return whole.toString('utf8');
  return whole.subarray(0, COMBINED_LIMIT - COMBINED_CUT.length).toString('utf8') + COMBINED_CUT;
}
