import type { DataFolder } from './data-folder.ts';
import type { Segment } from './object-record.ts';

/** Bytes `[start, start + length)` of an object. */
export interface Content {
  readonly data: DataFolder;
  readonly segments: readonly Segment[];
  readonly start: number;
  readonly length: number;
}

/** What a handler wants sent. */
export interface Answer {
  readonly status: number;
  /** Undefined values are left out. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
  readonly xml?: string;
  readonly content?: Content;
}

export const xmlAnswer = (xml: string, headers: Answer['headers'] = {}): Answer => ({
  status: 200,
  xml,
  headers,
});

export const emptyAnswer = (status: 200 | 204, headers: Answer['headers'] = {}): Answer => ({
  status,
  headers,
});
