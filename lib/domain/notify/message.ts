export interface Message {
  /** One line: `🔄 HostMaster DB Backup SUCCESS`. */
  readonly subject: string;
  /** Plain text, the lines below the subject. */
  readonly body: string;
}

/** A database or host may be called anything; in a message it stays on its line and carries no terminal codes. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim();
}

/** Long enough for PostgreSQL's own words; Slack and SMS cut or refuse much longer ones. */
const LONGEST_TEXT = 2000;

/** Text of several lines, such as pg_dump's stderr: control characters removed, its tail kept when it is long. */
export function severalLines(text: string): string {
  const clean = text.replace(/\r\n?|[\u2028\u2029]/gu, '\n').replace(/[^\P{Cc}\n]/gu, '');
  const trimmed = clean.trim();
  if (trimmed.length <= LONGEST_TEXT) return trimmed;
  const half = LONGEST_TEXT / 2;
  const left = trimmed.length - LONGEST_TEXT;
  return `${trimmed.slice(0, half)}\n… ${left} more characters, see the log …\n${trimmed.slice(-half)}`;
}

/**
 * SNS refuses a subject that is longer than 100 characters, holds a line break or anything beyond printable ASCII, or
 * starts with a space (docs.aws.amazon.com/sns/latest/api/API_Publish.html).
 */
export function asciiSubject(subject: string): string {
  const ascii = subject.replace(/[^\x20-\x7e]+/g, ' ').replace(/ {2,}/g, ' ');
  return ascii.trim().slice(0, 100).trimEnd() || 'Lifeboat';
}
