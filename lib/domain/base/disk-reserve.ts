const GIB = 1024 ** 3;
/** Of the disk: as much as ext4 keeps for root. */
const SHARE = 0.05;
const LEAST = 2 * GIB;
const MOST = 20 * GIB;

/**
 * Bytes that a recovery leaves free on a disk which a running cluster lies on: that goes on writing, and PostgreSQL ends when it
 * cannot write WAL. It lasts until a recovery that gives up has removed what it wrote, so it need not grow with the disk for ever.
 */
export function reserveOf(diskBytes: number): number {
  return Math.min(Math.max(LEAST, Math.ceil(diskBytes * SHARE)), MOST);
}
