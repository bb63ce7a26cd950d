import type { Lsn } from '../../../lib/domain/wal/lsn.ts';

/** Messages of the protocol (https://www.postgresql.org/docs/current/protocol-message-formats.html). */

export const BACKEND = {
  commandComplete: code('C'),
  copyBothResponse: code('W'),
  copyData: code('d'),
  copyDone: code('c'),
  copyInResponse: code('G'),
  copyOutResponse: code('H'),
  dataRow: code('D'),
  errorResponse: code('E'),
  noticeResponse: code('N'),
  parameterStatus: code('S'),
  readyForQuery: code('Z'),
} as const;

/** The length counts itself. */
const LENGTH_SIZE = 4;

function code(letter: string): number {
  return letter.charCodeAt(0);
}

export function message(type: string, body: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(1 + LENGTH_SIZE, type);
  header.writeInt32BE(LENGTH_SIZE + body.length, 1);
  return Buffer.concat([header, body]);
}

export function queryMessage(sql: string): Buffer {
  return message('Q', Buffer.from(`${sql}\0`));
}

/** https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-CANCELREQUEST */
export function cancelMessage(processId: number, secretKey: number): Buffer {
  const request = Buffer.alloc(16);
  request.writeInt32BE(request.length, 0);
  request.writeInt32BE(80877102, 4);
  request.writeInt32BE(processId, 8);
  request.writeInt32BE(secretKey, 12);
  return request;
}

/** https://www.postgresql.org/docs/current/protocol-replication.html#PROTOCOL-REPLICATION-STANDBY-STATUS-UPDATE */
export function statusMessage(status: {
  readonly written: Lsn;
  readonly flushed: Lsn;
  readonly at: bigint;
  readonly replyRequested: boolean;
}): Buffer {
  const body = Buffer.alloc(34, 'r');
  body.writeBigUInt64BE(status.written, 1);
  body.writeBigUInt64BE(status.flushed, 9);
  // Nothing is ever applied here; 0 says so.
  body.writeBigUInt64BE(0n, 17);
  body.writeBigInt64BE(status.at, 25);
  body[33] = status.replyRequested ? 1 : 0;
  return message('d', body);
}

export type Row = readonly (Buffer | null)[];

/** Copies the values out. */
export function parseDataRow(body: Buffer): Row {
  const row: (Buffer | null)[] = [];
  let offset = 2;
  for (let left = body.readUInt16BE(0); left > 0; left--) {
    const length = body.readInt32BE(offset);
    offset += LENGTH_SIZE;
    row.push(length < 0 ? null : Buffer.from(body.subarray(offset, offset + length)));
    offset += Math.max(length, 0);
  }
  return row;
}

/** An error or a notice (https://www.postgresql.org/docs/current/protocol-error-fields.html). */
export interface ServerMessage {
  /** Not translated: ERROR, FATAL, PANIC; WARNING, NOTICE, … */
  readonly severity: string;
  /** SQLSTATE */
  readonly code: string;
  readonly message: string;
  readonly detail: string | undefined;
  readonly hint: string | undefined;
  /** The C function that spoke: the one thing besides `code` that no lc_messages translates. */
  readonly routine: string;
}

export function parseServerMessage(body: Buffer): ServerMessage {
  const fields = new Map<string, string>();
  for (let offset = 0; body[offset];) {
    const end = body.indexOf(0, offset);
    fields.set(String.fromCharCode(body[offset]!), body.toString('utf8', offset + 1, end));
    offset = end + 1;
  }
  return {
    severity: fields.get('V') ?? fields.get('S') ?? 'ERROR',
    code: fields.get('C') ?? '',
    message: fields.get('M') ?? '',
    detail: fields.get('D'),
    hint: fields.get('H'),
    routine: fields.get('R') ?? '',
  };
}

export function isFatal({ severity }: ServerMessage): boolean {
  return severity === 'FATAL' || severity === 'PANIC';
}

/** A string that has its end marked by a zero, and what follows it. */
export function readCString(bytes: Buffer, offset: number): { text: string; end: number } {
  const end = bytes.indexOf(0, offset);
  return { text: bytes.toString('utf8', offset, end), end: end + 1 };
}
