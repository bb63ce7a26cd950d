import type { BaseManifest } from '../../../lib/domain/base/base-manifest.ts';
import type { RecoveryPlan } from '../../../lib/domain/base/recovery-plan.ts';
import {
  preloadedLibraries,
  recoverySettings,
  serverSettings,
} from '../../../scripts/agent/recovery/settings-files.ts';

const MIB = 2 ** 20;

function manifestWith(settings: Record<string, string>, walSegmentSize = 16 * MIB): BaseManifest {
  return { settings, server: { walSegmentSize } } as unknown as BaseManifest;
}

describe('The settings of a recovered cluster', () => {
  const own = {
    socketDir: '/srv/a b',
    port: 5433,
    listen: false,
    libraries: ['pg_stat_statements'],
    freeMemory: 2e9,
    freeDisk: 50e9,
    versionNumber: 150_004,
  };

  it('take from the source what recovery needs, and nothing that would go out', () => {
    const text = serverSettings(manifestWith({ max_connections: '321', archive_mode: 'on', port: '1' }), own);
    const lines = text.split('\n');
    expect(lines).toEqual(
      expect.arrayContaining([
        "max_connections = '321'",
        "archive_mode = 'off'",
        "primary_conninfo = ''",
        "listen_addresses = ''",
        "port = '5433'",
        "max_logical_replication_workers = '0'",
        `unix_socket_directories = '"/srv/a b"'`,
      ]),
    );
    expect(text).not.toContain("archive_mode = 'on'");
  });

  it.each([
    [100e6, '128MB'],
    [800 * 2 ** 20, '200MB'],
    [64e9, '256MB'],
  ])('take with %d bytes of free memory shared_buffers of %s', (freeMemory, expected) => {
    const text = serverSettings(manifestWith({ shared_buffers: '16GB' }), { ...own, freeMemory });
    expect(text).toContain(`\nshared_buffers = '${expected}'\n`);
    expect(text.match(/shared_buffers/g)).toHaveLength(1);
  });

  it.each([
    [10 * 2 ** 30, '2048MB'],
    [64 * 2 ** 30, '4096MB'],
    [2 ** 40, '8192MB'],
  ])('let with %d free bytes on the disk as much WAL lie there as %s', (freeDisk, expected) => {
    const text = serverSettings(manifestWith({ max_wal_size: '1GB' }), { ...own, freeDisk });
    expect(text).toContain(`\nmax_wal_size = '${expected}'\n`);
  });

  it.each([
    [1, '80MB', '2048MB'],
    [16, '80MB', '2048MB'],
    [64, '128MB', '2048MB'],
    [1024, '2048MB', '2048MB'],
  ])('let WAL in segments of %d MiB lie there, twice as much at least', (segment, least, most) => {
    const text = serverSettings(manifestWith({}, segment * MIB), { ...own, freeDisk: 1e9 });
    expect(text).toContain(`\nmin_wal_size = '${least}'\n`);
    expect(text).toContain(`\nmax_wal_size = '${most}'\n`);
  });

  it('have room for replication origins and prepared transactions also where the manifest tells nothing of them', () => {
    const old = serverSettings(manifestWith({}), own);
    expect(old).toContain("\nmax_prepared_transactions = '100'\n");
    expect(old).toContain("\nmax_replication_slots = '1000'\n");
    expect(old).not.toContain('max_active_replication_origins');
    const settings = { max_prepared_transactions: '0', max_replication_slots: '2000' };
    const text = serverSettings(manifestWith(settings), { ...own, versionNumber: 180_000 });
    expect(text).toContain("\nmax_prepared_transactions = '100'\n");
    expect(text).toContain("\nmax_replication_slots = '2000'\n");
    expect(text).toContain("\nmax_active_replication_origins = '1000'\n");
  });

  it.each([
    [140_004, false],
    [140_005, true],
    [150_000, true],
    [180_001, true],
  ])('let the server %d have tablespaces inside pg_tblspc: %s', (versionNumber, expected) => {
    const text = serverSettings(manifestWith({}), { ...own, versionNumber });
    expect(text.includes("\nallow_in_place_tablespaces = 'on'\n")).toBe(expected);
  });

  it('load the source’s libraries without those that start jobs or replication of their own', () => {
    const manifest = manifestWith({
      shared_preload_libraries:
        'pg_stat_statements, "pg_cron" ,$libdir/auto_explain,pglogical, $libdir/spock.so,bdr,pg_net,citus',
    });
    expect(preloadedLibraries(manifest)).toEqual({
      wanted: ['pg_stat_statements', '$libdir/auto_explain'],
      leftOut: ['pg_cron', 'pglogical', '$libdir/spock.so', 'bdr', 'pg_net', 'citus'],
    });
  });

  it.each(['timescaledb', '$libdir/timescaledb', '/usr/lib/postgresql/15/lib/timescaledb.so'])(
    'keep the jobs of %s from starting, whose tables cannot be read without it',
    (library) => {
      const manifest = manifestWith({ shared_preload_libraries: library });
      expect(preloadedLibraries(manifest)).toEqual({ wanted: [library], leftOut: [] });
      const text = serverSettings(manifest, { ...own, libraries: [library] });
      expect(text).toContain("\ntimescaledb.max_background_workers = '0'\n");
      expect(serverSettings(manifest, own)).not.toContain('timescaledb');
    },
  );

  const replay = { target: false, pause: false, versionNumber: 150_000, freeMemory: 8e9 };
  const planOf = (disk: number, settings: BaseManifest['settings'] = {}): RecoveryPlan => {
    const base = { manifest: manifestWith(settings) };
    return { timeline: 1, stop: { kind: 'end-of-wal' }, bytes: { disk }, base } as unknown as RecoveryPlan;
  };

  it('let the background writer write what a replay puts aside, as long as it replays', () => {
    expect(recoverySettings(planOf(0), replay)).toContain("\nbgwriter_lru_maxpages = '1000'\n");
    expect(serverSettings(manifestWith({}), own)).not.toContain('bgwriter');
  });

  it.each([
    ['the source said nothing of its pages', 4e9, 150_000, {}, true],
    ['WAL has whole pages and all fits into memory', 4e9, 150_000, { full_page_writes: 'on' }, true],
    ['WAL has no whole pages', 4e9, 150_000, { full_page_writes: 'off' }, false],
    ['not all of it fits into memory', 4e9 + 1, 150_000, { full_page_writes: 'on' }, false],
    ['the server knows no prefetching', 0, 140_010, {}, false],
  ])('decide on prefetching where %s: %d bytes, version %d', (_, disk, versionNumber, settings, off) => {
    const text = recoverySettings(planOf(disk, settings as Record<string, string>), {
      ...replay,
      versionNumber,
    });
    expect(text.includes("recovery_prefetch = 'off'")).toBe(off);
  });

  it('quote a target’s name so that it stays a name', () => {
    const stop = {
      kind: 'setting',
      setting: 'recovery_target_name',
      value: `o'\\n`,
      inclusive: true,
      endOfWalSuffices: false,
    };
    const plan = { ...planOf(0), timeline: 3, stop } as unknown as RecoveryPlan;
    const text = recoverySettings(plan, { ...replay, target: true });
    expect(text).toContain(`recovery_target_name = 'o''\\\\n'\n`);
    expect(text).toContain("recovery_target_timeline = '3'\n");
    expect(recoverySettings(plan, replay)).not.toContain('recovery_target_name');
  });
});
