import type { Base } from '../../../../lib/domain/base/base-catalog.ts';
import { reportBase, type ReportedBase } from '../../../../lib/domain/base/base-report.ts';
import type { Backup, CopyState } from '../../../../lib/domain/backup/catalog.ts';
import type { DumpEncoding } from '../../../../lib/domain/backup/keys.ts';
import { decideRetention, expiresAt } from '../../../../lib/domain/backup/retention.ts';
import { lastVerified } from '../../../../lib/domain/run/run-record.ts';
import { asLifeboatError, type LifeboatError } from '../../../../lib/domain/errors.ts';
import { readBases } from '../../catalog/bases.ts';
import { readCatalog, type Catalog } from '../../catalog/dumps.ts';
import type { Clock } from '../../ports/host.ts';
import type { Journal } from '../../ports/journal.ts';
import type { ObjectStore } from '../../ports/store.ts';

export interface ListPorts {
  readonly stores: readonly [local: ObjectStore, s3?: ObjectStore];
  readonly journal: Journal;
  readonly clock: Clock;
}

export interface ListRequest {
  readonly app: string;
  readonly localDays: number;
  readonly s3Days: number;
}

export interface ListedBackup {
  readonly id: string;
  readonly time: Date;
  /** Of the dump; `undefined` while there is none. */
  readonly bytes: number | undefined;
  readonly encoding: DumpEncoding | undefined;
  readonly copies: readonly ListedCopy[];
}

export interface ListedCopy {
  readonly store: 'local' | 's3';
  readonly url: string;
  readonly state: CopyState;
  readonly detail: string | undefined;
  /** When it was last proven right: made, or verified since. */
  readonly verifiedAt: Date | undefined;
  /** `undefined`: not while things are as they are (the newest, or none newer stands). */
  readonly expiresAt: Date | undefined;
}

/** One base backup in one store. */
export interface ListedBase extends ReportedBase {
  readonly store: 'local' | 's3';
}

export interface ListResult {
  readonly backups: readonly ListedBackup[];
  /** Newest first. */
  readonly bases: readonly ListedBase[];
  /** A store that could not be read; the other one is listed all the same. */
  readonly failure: LifeboatError | undefined;
}

/** `lifeboat list`: local and S3 side by side, newest first. */
export async function list(ports: ListPorts, request: ListRequest): Promise<ListResult> {
  const runs = await ports.journal.records();
  const read = await Promise.all(
    ports.stores.flatMap((store) => (store ? [readOne(request.app, store, runs)] : [])),
  );
  const expiry = new Map(read.flatMap(({ store, catalog }) => [...expiryOf(ports, request, store, catalog)]));
  const ids = new Map<string, Backup[]>();
  for (const { catalog } of read) {
    for (const found of catalog?.backups ?? []) ids.set(found.id, [...(ids.get(found.id) ?? []), found]);
  }
  const backups = [...ids.values()].map((found) => ({
    ...describe(found),
    copies: found
      .flatMap(({ copies }) => copies)
      .map((copy) => ({
        store: copy.store,
        url: urlOf(ports, copy.store, copy.dump?.key ?? copy.files[0]!.key),
        state: copy.state,
        detail: copy.detail,
        verifiedAt:
          lastVerified(runs, copy.store).get(copy.id) ?? madeAt(copy.state, copy.manifest?.finishedAt),
        expiresAt: expiry.get(`${copy.store} ${copy.id}`),
      })),
  }));
  return {
    backups: backups.toSorted((one, other) => other.time.getTime() - one.time.getTime()),
    bases: read
      .flatMap(({ store, bases }) =>
        bases.map((base) => ({ ...reportBase(base, (key) => store.urlOf(key)), store: store.kind })),
      )
      .toSorted((one, other) => other.time.getTime() - one.time.getTime()),
    failure: read.find(({ failure }) => failure)?.failure,
  };
}

interface ReadStore {
  readonly store: ObjectStore;
  readonly catalog: Catalog | undefined;
  readonly bases: readonly Base[];
  readonly failure: LifeboatError | undefined;
}

async function readOne(
  app: string,
  store: ObjectStore,
  runs: Parameters<typeof readCatalog>[2],
): Promise<ReadStore> {
  try {
    const [catalog, bases] = await Promise.all([
      readCatalog(app, [store], runs),
      readBases(app, store, runs),
    ]);
    return { store, catalog, bases, failure: undefined };
  } catch (error) {
    return { store, catalog: undefined, bases: [], failure: asLifeboatError(error) };
  }
}

function expiryOf(
  { clock }: ListPorts,
  request: ListRequest,
  store: ObjectStore,
  catalog: Catalog | undefined,
): [string, Date][] {
  const days = store.kind === 'local' ? request.localDays : request.s3Days;
  const copies = catalog?.copiesIn(store) ?? [];
  // Judged as of the day it would go: today's newest backup has no date, the others have one.
  return copies.flatMap((copy): [string, Date][] => {
    const at = expiresAt(copy, days);
    const then = decideRetention(copies, {
      days,
      now: new Date(Math.max(at.getTime(), clock.now().getTime())),
    });
    const goes = then.find((decision) => decision.copy === copy)?.expire;
    return goes ? [[`${store.kind} ${copy.id}`, at]] : [];
  });
}

function describe(found: readonly Backup[]): Pick<ListedBackup, 'id' | 'time' | 'bytes' | 'encoding'> {
  const manifest = found.find((each) => each.manifest)?.manifest;
  const dump = found.flatMap(({ copies }) => copies).find((copy) => copy.dump)?.dump;
  return {
    id: found[0]!.id,
    time: manifest ? new Date(manifest.startedAt) : found[0]!.time,
    bytes: manifest?.dump.size ?? dump?.size,
    encoding: manifest?.dump ?? dump?.encoding,
  };
}

function urlOf(ports: ListPorts, kind: 'local' | 's3', key: string): string {
  return ports.stores.find((store) => store?.kind === kind)!.urlOf(key);
}

function madeAt(state: CopyState, finishedAt: string | undefined): Date | undefined {
  return state === 'complete' && finishedAt !== undefined ? new Date(finishedAt) : undefined;
}
