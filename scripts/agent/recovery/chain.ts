import { constants, copyFile, link, readdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import { majorOf } from '../../../lib/domain/server-version.ts';
import { formatCount } from '../../../lib/domain/quantities.ts';
import type { FileOwner } from '../data-path/tar/extraction-folder.ts';
import { onDisk, syncFolder } from '../host/durable-file.ts';
import type { Log } from '../ports/host.ts';
import type { RecoveryPlace, ServerPrograms } from '../ports/recovery.ts';
import { runCombiner } from './combiner.ts';
import type { VolumesToUnpack } from './volumes.ts';
import { CHAIN_FOLDER, linkTo, makeOwnFolder } from './work-files.ts';

export interface ChainGround {
  readonly place: Pick<RecoveryPlace, 'dataDir' | 'tablespaceDir' | 'tablespaceDirs'>;
  /** The full one first. */
  readonly chain: readonly BaseManifest[];
  readonly owner: FileOwner | undefined;
  readonly interrupted: AbortSignal;
  readonly log: Log;
}

/**
 * The base backups of a chain in folders of their own, on the disks where the result is to lie, until pg_combinebackup has
 * made one data directory of them.
 */
export class ChainOfBackups {
  readonly #ground: ChainGround;
  readonly #oids: readonly number[];

  constructor(ground: ChainGround) {
    this.#ground = ground;
    this.#oids = ground.chain.at(-1)!.tablespaces.map(({ oid }) => oid);
  }

  #folder(...names: readonly (string | number)[]): string {
    return path.join(this.#ground.place.dataDir, CHAIN_FOLDER, ...names.map(String));
  }

  #tablespace(...names: readonly (string | number)[]): string {
    return path.join(this.#ground.place.tablespaceDir, CHAIN_FOLDER, ...names.map(String));
  }

  #target(oid: number): string {
    const { tablespaceDir, tablespaceDirs } = this.#ground.place;
    return tablespaceDirs?.get(oid) ?? path.join(tablespaceDir, String(oid));
  }

  /** Makes the folders. @returns what is to be unpacked into them; WAL and tablespaces only where the last one has them */
  async layOut(prefixOf: (manifest: BaseManifest) => string): Promise<VolumesToUnpack[]> {
    const { chain, owner } = this.#ground;
    await makeOwnFolder(this.#folder(), owner);
    if (this.#oids.length > 0) await makeOwnFolder(this.#tablespace(), owner);
    const found: VolumesToUnpack[] = [];
    for (const [index, manifest] of chain.entries()) {
      const tablespaceDirs = await this.#layOutMember(index, manifest);
      const wanted = new Set(['base', ...[...tablespaceDirs.keys()].map((oid) => `ts-${oid}`)]);
      if (index === chain.length - 1) wanted.add('wal');
      const volumes = manifest.volumes.filter(({ series }) => wanted.has(series));
      const before = chain[index - 1];
      const hint = before
        ? `What ${manifest.label} builds on may be whole: --base ${before.label}`
        : 'Every backup of this chain builds on it. Recover from an earlier base backup: lifeboat list shows them, --base names one.';
      const dataDir = this.#folder(index);
      const own = { prefix: prefixOf(manifest), manifest, volumes, dataDir, tablespaceDirs };
      // By pg_combinebackup.
      found.push({ ...own, readAgain: true, hint });
    }
    return found;
  }

  async #layOutMember(index: number, { tablespaces }: BaseManifest): Promise<Map<number, string>> {
    const { owner } = this.#ground;
    await makeOwnFolder(this.#folder(index), owner);
    const own = tablespaces.filter(({ oid }) => this.#oids.includes(oid));
    if (own.length > 0) await makeOwnFolder(this.#tablespace(index), owner);
    for (const { oid } of own) {
      await makeOwnFolder(this.#tablespace(index, oid), owner);
      await linkTo(this.#tablespace(index, oid), this.#folder(index, 'pg_tblspc', oid), owner);
    }
    return new Map(own.map(({ oid }) => [oid, this.#tablespace(index, oid)]));
  }

  /**
   * Makes the data directory of them, with tablespaces at their places, all of it brought to the disk, and removes them.
   * @throws LifeboatError RESTORE_FAILED, DISK_FULL
   */
  async combine(programs: ServerPrograms): Promise<void> {
    const { chain, log, owner, interrupted } = this.#ground;
    const last = chain.length - 1;
    const mappings = this.#oids.map((oid) => {
      return [this.#tablespace(last, oid), this.#target(oid)] as const;
    });
    const result = this.#folder('result');
    const way = await this.#chooseWay(programs);
    log.info(`Combining ${formatCount(chain.length, 'base backup')} (pg_combinebackup ${way})...`);
    const args = [
      way,
      `--output=${result}`,
      ...mappings.map(([from, to]) => `--tablespace-mapping=${escaped(from)}=${escaped(to)}`),
      ...chain.map((_member, index) => this.#folder(index)),
    ];
    await runCombiner(programs.folder, args, { cwd: this.#folder(), owner, interrupted });
    await this.#moveUp(result);
    await this.#remove();
  }

  /** Whatever copies least: the members are not needed any longer then. A tablespace’s result may lie on another disk. */
  async #chooseWay({ versionNumber }: ServerPrograms): Promise<string> {
    const pairs = [
      [this.#folder(), this.#folder()],
      ...this.#oids.map((oid) => [this.#tablespace(), this.#target(oid)]),
    ] as const;
    const isPossible = async (way: (from: string, to: string) => Promise<void>): Promise<boolean> => {
      for (const [from, to] of pairs) if (!(await tryOut(from!, to!, way))) return false;
      return true;
    };
    if (majorOf(versionNumber) >= FIRST_WITH_LINK && (await isPossible(link))) return '--link';
    if (await isPossible((from, to) => copyFile(from, to, constants.COPYFILE_FICLONE_FORCE)))
      return '--clone';
    return '--copy';
  }

  async #moveUp(result: string): Promise<void> {
    const { dataDir } = this.#ground.place;
    await onDisk(`Cannot move what was combined to ${dataDir}`, async () => {
      for (const name of await readdir(result))
        await rename(path.join(result, name), path.join(dataDir, name));
      await syncFolder(dataDir);
    });
  }

  async #remove(): Promise<void> {
    for (const folder of [this.#folder(), this.#tablespace()])
      await onDisk(`Cannot remove ${folder}`, () => rm(folder, { recursive: true, force: true }));
  }
}

const FIRST_WITH_LINK = 18;

/** The program takes `old=new`; paths with backslashes were refused before. */
function escaped(folder: string): string {
  return folder.replaceAll('=', String.raw`\=`);
}

/** Whether the file systems do it. */
async function tryOut(
  folder: string,
  target: string,
  way: (from: string, to: string) => Promise<void>,
): Promise<boolean> {
  const [from, to] = [path.join(folder, 'probe'), path.join(target, 'probe.copy')];
  try {
    await writeFile(from, 'probe');
    await way(from, to);
    return true;
  } catch {
    // It does not, whatever it calls that: the next way is tried, and the last one needs nothing.
    return false;
  } finally {
    for (const file of [from, to]) await rm(file, { force: true });
  }
}
