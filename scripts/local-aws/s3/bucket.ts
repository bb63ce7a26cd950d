import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DataFolder } from './data-folder.ts';
import { KeyIndex } from './key-index.ts';
import { readJson, writeJson } from './state-files.ts';
import { UploadIndex } from './upload-index.ts';

type Versioning = 'Enabled' | 'Suspended';

/** Sub-resources that are kept and given back as they came. */
export type StoredDocument = 'lifecycle' | 'policy' | 'publicAccessBlock' | 'encryption' | 'tagging';

export interface DefaultRetention {
  readonly mode: 'GOVERNANCE' | 'COMPLIANCE';
  readonly days: number;
}

export interface BucketSettings {
  readonly createdAt: number;
  readonly versioning?: Versioning | undefined;
  readonly objectLock?: { readonly defaultRetention?: DefaultRetention | undefined } | undefined;
  readonly documents: Readonly<Partial<Record<StoredDocument, string>>>;
}

/** One bucket: its settings, its keys, its unfinished uploads and its bytes, all under one folder. */
export class Bucket {
  readonly name: string;
  readonly data: DataFolder;
  readonly keys: KeyIndex;
  readonly uploads: UploadIndex;
  readonly #folder: string;
  #settings: BucketSettings;

  private constructor(name: string, folder: string, settings: BucketSettings) {
    this.name = name;
    this.#folder = folder;
    this.#settings = settings;
    this.data = new DataFolder(folder);
    this.keys = new KeyIndex(join(folder, 'keys'), this.data);
    this.uploads = new UploadIndex(join(folder, 'uploads'), this.data);
  }

  static create(name: string, folder: string, settings: BucketSettings): Bucket {
    writeJson(settingsFile(folder), settings);
    return new Bucket(name, folder, settings);
  }

  static load(name: string, folder: string): Bucket {
    return new Bucket(name, folder, readJson(settingsFile(folder)) as BucketSettings);
  }

  get settings(): BucketSettings {
    return this.#settings;
  }

  change(settings: Partial<BucketSettings>): void {
    const changed = { ...this.#settings, ...settings };
    writeJson(settingsFile(this.#folder), changed);
    this.#settings = changed;
  }

  setDocument(name: StoredDocument, text: string | undefined): void {
    this.change({ documents: { ...this.#settings.documents, [name]: text } });
  }

  removeFolder(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const settingsFile = (folder: string): string => join(folder, 'bucket.json');
