import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { DataFolder } from './data-folder.ts';
import { compareKeys } from './key-order.ts';
import { NULL_VERSION, type KeyRecord, type ObjectVersion } from './object-record.ts';
import { fileNameOfKey, jsonFilesIn, readJson, writeJson } from './state-files.ts';

/** The keys of one bucket, in memory and one JSON file each. Every change is synchronous: see state-files.ts. */
export class KeyIndex {
  readonly #folder: string;
  readonly #data: DataFolder;
  readonly #records = new Map<string, KeyRecord>();
  /** When a key last lost its object, as a count of all such losses: tells a conditional write that it raced. */
  readonly #removals = new Map<string, number>();
  #removalCount = 0;
  #sorted: readonly KeyRecord[] | undefined;

  constructor(folder: string, data: DataFolder) {
    this.#folder = folder;
    this.#data = data;
    for (const file of jsonFilesIn(folder)) {
      const record = readJson(file) as KeyRecord;
      this.#records.set(record.key, record);
    }
  }

  get size(): number {
    return this.#records.size;
  }

  get removalCount(): number {
    return this.#removalCount;
  }

  wasRemovedSince(key: string, count: number): boolean {
    return (this.#removals.get(key) ?? 0) > count;
  }

  versions(key: string): readonly ObjectVersion[] {
    return this.#records.get(key)?.versions ?? [];
  }

  /** What a plain GET sees: `undefined` when there is nothing or a delete marker. */
  current(key: string): ObjectVersion | undefined {
    const newest = this.versions(key)[0];
    return newest === undefined || newest.deleteMarker ? undefined : newest;
  }

  /** In the order of their UTF-8 bytes, as S3 lists them. */
  sorted(): readonly KeyRecord[] {
    this.#sorted ??= [...this.#records.values()].sort((a, b) => compareKeys(a.key, b.key));
    return this.#sorted;
  }

  /** Puts a version on top; one without a version id replaces the one that had none. */
  add(key: string, version: ObjectVersion): void {
    const before = this.versions(key);
    const kept =
      version.versionId === NULL_VERSION
        ? before.filter(({ versionId }) => versionId !== NULL_VERSION)
        : before;
    this.#save(key, [version, ...kept]);
    if (version.deleteMarker) this.#noteRemoval(key);
    this.#removeFilesOf(before.filter((old) => !kept.includes(old)));
  }

  remove(key: string, versionId: string): void {
    const before = this.versions(key);
    this.#save(
      key,
      before.filter((version) => version.versionId !== versionId),
    );
    this.#noteRemoval(key);
    this.#removeFilesOf(before.filter((version) => version.versionId === versionId));
  }

  replace(key: string, changed: ObjectVersion): void {
    const versions = this.versions(key);
    this.#save(
      key,
      versions.map((version) => (version.versionId === changed.versionId ? changed : version)),
    );
  }

  #noteRemoval(key: string): void {
    this.#removalCount += 1;
    this.#removals.set(key, this.#removalCount);
  }

  #save(key: string, versions: readonly ObjectVersion[]): void {
    const file = join(this.#folder, `${fileNameOfKey(key)}.json`);
    const record: KeyRecord = { key, versions };
    if (versions.length === 0) {
      rmSync(file, { force: true });
      this.#records.delete(key);
    } else {
      writeJson(file, record);
      this.#records.set(key, record);
    }
    this.#sorted = undefined;
  }

  #removeFilesOf(versions: readonly ObjectVersion[]): void {
    for (const { segments } of versions) for (const { file } of segments) this.#data.remove(file);
  }
}
