import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { DataFolder } from './data-folder.ts';
import type { PartRecord, UploadRecord } from './object-record.ts';
import { jsonFilesIn, namesIn, readJson, writeJson } from './state-files.ts';

export interface OpenUpload {
  readonly upload: UploadRecord;
  readonly parts: ReadonlyMap<number, PartRecord>;
}

/** Repeating a finished CompleteMultipartUpload gives the same answer again, as S3 does for a while. */
export interface FinishedUpload {
  readonly key: string;
  readonly etag: string;
  readonly versionId: string;
}

const MEMORY_OF_FINISHED = 10_000;

/** Unfinished multipart uploads: `<id>/upload.json` and one JSON file per part; the parts' bytes are data files. */
export class UploadIndex {
  readonly #folder: string;
  readonly #data: DataFolder;
  readonly #open = new Map<string, { upload: UploadRecord; parts: Map<number, PartRecord> }>();
  readonly #finished = new Map<string, FinishedUpload>();

  constructor(folder: string, data: DataFolder) {
    this.#folder = folder;
    this.#data = data;
    for (const id of namesIn(folder)) this.#load(join(folder, id));
  }

  #load(folder: string): void {
    const files = jsonFilesIn(folder);
    const record = files.find((file) => file.endsWith('upload.json'));
    // Without it the folder is what a killed server was still making, or had begun to remove.
    if (record === undefined) return rmSync(folder, { recursive: true, force: true });
    const upload = readJson(record) as UploadRecord;
    const parts = files.filter((file) => file !== record).map((file) => readJson(file) as PartRecord);
    this.#open.set(upload.uploadId, { upload, parts: new Map(parts.map((part) => [part.partNumber, part])) });
  }

  get size(): number {
    return this.#open.size;
  }

  all(): readonly UploadRecord[] {
    return [...this.#open.values()].map(({ upload }) => upload);
  }

  find(uploadId: string): OpenUpload | undefined {
    return this.#open.get(uploadId);
  }

  finished(uploadId: string): FinishedUpload | undefined {
    return this.#finished.get(uploadId);
  }

  start(upload: UploadRecord): void {
    writeJson(join(this.#folder, upload.uploadId, 'upload.json'), upload);
    this.#open.set(upload.uploadId, { upload, parts: new Map() });
  }

  /** Replaces an earlier part of the same number. `false` when the upload was finished or aborted meanwhile. */
  putPart(uploadId: string, part: PartRecord): boolean {
    const found = this.#open.get(uploadId);
    if (found === undefined) return false;
    const before = found.parts.get(part.partNumber);
    writeJson(join(this.#folder, uploadId, `part-${part.partNumber}.json`), part);
    found.parts.set(part.partNumber, part);
    if (before !== undefined) this.#data.remove(before.file);
    return true;
  }

  /** Ends it; the bytes of the parts in `keep` now belong to an object, the others are removed. */
  finish(uploadId: string, keep: ReadonlySet<string>, result: FinishedUpload): void {
    this.#end(uploadId, keep);
    this.#finished.set(uploadId, result);
    const [oldest] = this.#finished.keys();
    if (this.#finished.size > MEMORY_OF_FINISHED && oldest !== undefined) this.#finished.delete(oldest);
  }

  abort(uploadId: string): void {
    this.#end(uploadId, new Set());
  }

  #end(uploadId: string, keep: ReadonlySet<string>): void {
    const found = this.#open.get(uploadId);
    this.#open.delete(uploadId);
    rmSync(join(this.#folder, uploadId), { recursive: true, force: true });
    for (const { file } of found?.parts.values() ?? []) if (!keep.has(file)) this.#data.remove(file);
  }
}
