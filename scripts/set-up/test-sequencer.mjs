import { statSync } from 'node:fs';
import path from 'node:path';

/** Files with servers and processes of their own, which take tens of seconds; all others take one or two. */
const SLOW = /^(?:integration|reliability|docs|contract|agent\/replication)\//;
/** Short files that take long all the same. */
const LONGEST = [
  'reliability/exactness',
  'integration/demo',
  'integration/reliability',
  'integration/recovery-versions',
  'integration/restore-parallel',
  'integration/wal-trouble',
  'agent/data-path/tar/backup-manifest',
  'agent/data-path/wal/wal-scanner',
];

/**
 * Begins with the files that take longest, so that at the end no worker has a long one left while the other is idle. Jest
 * goes by the times of its last run, which a clean clone does not have, and else by the size of the files.
 */
export default class TestSequencer {
  sort(tests) {
    const places = new Map(tests.map((test) => [test, placeOf(test)]));
    return tests.toSorted((one, other) => places.get(one) - places.get(other));
  }

  /** Dealt out one by one, so that each shard (`--shard=1/2`) has its share of the long ones. */
  shard(tests, { shardIndex, shardCount }) {
    // Files of one size go by name: another order on another machine, and one file would be run twice and one never.
    const named = tests.toSorted((one, other) => (one.path < other.path ? -1 : 1));
    return this.sort(named).filter((_, place) => place % shardCount === shardIndex - 1);
  }

  /** What failed before is not known here. */
  allFailedTests(tests) {
    return tests;
  }

  cacheResults() {}
}

/** The lower, the sooner. */
function placeOf({ path: file, context }) {
  const name = path.relative(path.join(context.config.rootDir, 'test'), file).split(path.sep).join('/');
  const listed = LONGEST.indexOf(name.replace(/\.test\.\w+$/, ''));
  if (listed !== -1) return listed;
  return LONGEST.length + 1 / statSync(file).size + (SLOW.test(name) ? 0 : 1);
}
