import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import { formatLsn } from '../../../../lib/domain/wal/lsn.ts';
import { majorOf } from '../../../../lib/domain/server-version.ts';
import type { BackupManifest, ManifestFile } from './backup-manifest.ts';

export interface ManifestEntry extends Pick<ManifestFile, 'path' | 'size'> {
  readonly modifiedAt: Date;
  /** As `finishCrc32c` gives it. */
  readonly crc32c: number;
}

/** The first that says which cluster it is of. */
const FIRST_OF_VERSION_2 = 17;
/** So much is gathered before it is given out: a database may have a million files, and a line is short. */
const BATCH = 64 * 1024;

/**
 * Writes the `backup_manifest` that a server of the same version would, byte for byte (src/backend/backup/backup_manifest.c):
 * a line for each file, in the order in which they lie in the backup.
 */
export class BackupManifestWriter {
  readonly #sha256 = createHash('sha256');
  #lines: string;
  #isFirst = true;

  /** @param server its `server_version_num` and its system identifier, in decimal digits */
  constructor(server: { readonly versionNumber: number; readonly systemIdentifier: string }) {
    this.#lines =
      majorOf(server.versionNumber) < FIRST_OF_VERSION_2
        ? '{ "PostgreSQL-Backup-Manifest-Version": 1,\n'
        : `{ "PostgreSQL-Backup-Manifest-Version": 2,\n"System-Identifier": ${server.systemIdentifier},\n`;
    this.#lines += '"Files": [';
  }

  /** @returns the manifest's next bytes, which may be none */
  add({ path, size, modifiedAt, crc32c }: ManifestEntry): Buffer {
    this.#lines += this.#isFirst ? '\n' : ',\n';
    this.#isFirst = false;
    this.#lines +=
      `{ ${pathOf(path)}, "Size": ${size}, "Last-Modified": "${timeOf(modifiedAt)}", ` +
      `"Checksum-Algorithm": "CRC32C", "Checksum": "${checksumOf(crc32c)}" }`;
    return this.#lines.length < BATCH ? Buffer.alloc(0) : this.#takeLines();
  }

  /**
   * @param ranges WAL that the backup needs; the newest timeline first
   * @returns the manifest's last bytes
   */
  finish(ranges: BackupManifest['walRanges']): Buffer {
    const lines = ranges.map(({ timeline, start, end }) => {
      return `{ "Timeline": ${timeline}, "Start-LSN": "${formatLsn(start)}", "End-LSN": "${formatLsn(end)}" }`;
    });
    this.#lines += `\n],\n"WAL-Ranges": [\n${lines.join(',\n')}\n],\n`;
    const body = this.#takeLines();
    const last = `"Manifest-Checksum": "${this.#sha256.digest('hex')}"}\n`;
    return Buffer.concat([body, Buffer.from(last)]);
  }

  #takeLines(): Buffer {
    const bytes = Buffer.from(this.#lines);
    this.#lines = '';
    this.#sha256.update(bytes);
    return bytes;
  }
}

/** JSON escapes what the server's escape_json does; the manifest is UTF-8, which names of files need not be. */
function pathOf(path: string): string {
  const bytes = Buffer.from(path, 'latin1');
  return isUtf8(bytes)
    ? `"Path": ${JSON.stringify(bytes.toString())}`
    : `"Encoded-Path": "${bytes.toString('hex')}"`;
}

/** `2026-01-17 02:00:00 GMT` */
function timeOf(time: Date): string {
  return `${time.toISOString().slice(0, -'.000Z'.length).replace('T', ' ')} GMT`;
}

/** The four bytes as they lie in memory. */
function checksumOf(crc32c: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(crc32c);
  return bytes.toString('hex');
}
