import type { FoundRows } from '../../../../lib/domain/restore/row-counts.ts';
import type { RestorePorts } from '../../ports/restore.ts';
import type { TargetServer } from '../../ports/target-server.ts';
import type { RestoreRun } from './restore.ts';

interface Loaded {
  readonly loadMs: number;
  readonly found: FoundRows;
}

/** What it loaded is on the disk when it returns. @throws LifeboatError */
export async function loadAndCount(
  ports: RestorePorts,
  server: TargetServer,
  run: RestoreRun,
): Promise<Loaded> {
  const witness = await server.witness(run.prepared.plan.restoringInto);
  try {
    const loaded = await loadCounting(ports, server, run);
    // An index that a crash took would be missed by nobody.
    await witness.settle();
    return loaded;
  } finally {
    await witness.close();
  }
}

/** Tables are counted while their indexes are being built, where the load tells that all rows are in. */
async function loadCounting(ports: RestorePorts, server: TargetServer, run: RestoreRun): Promise<Loaded> {
  const { plan, backup } = run.prepared;
  let counting: Promise<FoundRows> | undefined;
  const count = (): Promise<FoundRows> => {
    const { interrupted } = ports;
    const tables = backup.tables ?? [];
    counting ??= server.countRows({ database: plan.restoringInto, tables, loaded, interrupted });
    // Awaited when the load is done; a load that fails breaks it off.
    counting.catch(() => undefined);
    return counting;
  };
  const loaded = load(ports, server, run, () => void count());
  try {
    return { loadMs: await loaded, found: await count() };
  } finally {
    await counting?.catch(() => undefined);
  }
}

/** @returns milliseconds */
async function load(
  ports: RestorePorts,
  server: TargetServer,
  { prepared, checked, found }: RestoreRun,
  onRowsLoaded: () => void,
): Promise<number> {
  const { plan, tools } = prepared;
  const { interrupted } = ports;
  const started = ports.clock.monotonic();
  const onProgress = (bytes: number): void => ports.progress.update(bytes);
  const request = {
    database: plan.restoringInto,
    tools,
    jobs: plan.jobs,
    interrupted,
    onProgress,
    onRowsLoaded,
  };
  const layout = found.manifest?.dump;
  const { dump } = checked;
  const unpacking = { layout, target: plan.target, interrupted, onProgress };
  const plain = plan.backup.format === 'plain';
  try {
    ports.progress.start(plain || layout ? 'Restoring' : 'Unpacking', plan.backup.rawSize);
    // Only of a dump that Lifeboat made is it known that its rows and all else can be told apart.
    if (plain && layout) await server.loadPlainPieces({ ...request, pieces: dump.plainPieces(layout) });
    else if (plain) await server.loadPlain({ ...request, content: dump.content(layout) });
    else if (layout) {
      const pieces = dump.archivePieces({ ...unpacking, layout });
      await server.loadArchivePieces({ ...request, pieces });
    } else {
      const path = await dump.unpack(unpacking);
      ports.progress.start('Restoring', 0);
      await server.loadCustom({ ...request, path });
    }
  } finally {
    ports.progress.stop();
  }
  return ports.clock.monotonic() - started;
}
