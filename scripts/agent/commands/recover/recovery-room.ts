import type { RecoveryPlan } from '../../../../lib/domain/base/recovery-plan.ts';
import { LifeboatError } from '../../../../lib/domain/errors.ts';
import { formatBytes } from '../../../../lib/domain/quantities.ts';
import type { RecoveryPlace } from '../../ports/recovery.ts';

interface RoomAt {
  readonly place: RecoveryPlace;
  readonly free: number;
  /** Of that, to be left to a cluster that runs. */
  readonly reserve: number;
  readonly besides: number;
}

/** @throws LifeboatError DISK_FULL */
export function requireRoom(
  { bytes, chain }: RecoveryPlan,
  { place: { dataDir }, free, reserve, besides }: RoomAt,
): void {
  const needed = bytes.disk + besides + reserve;
  if (free >= needed) return;
  const isChain = chain.length > 1;
  const parts = [
    isChain ? 'the base backups and what they are combined to' : 'the base backup',
    ...(bytes.walOnDisk > 0 ? [`WAL (${formatBytes(bytes.walOnDisk)})`] : []),
    ...(besides > 0 ? ['at most, the dump'] : []),
    ...(reserve > 0 ? [`the cluster that runs on that disk (${formatBytes(reserve)})`] : []),
  ];
  const instead = isChain ? `, or the full one alone, which needs less: --base ${chain[0]!.label}` : '';
  throw new LifeboatError(
    'DISK_FULL',
    `${formatBytes(needed)} are needed for ${parts.join(' and ')}; ${formatBytes(free)} are free for ${dataDir}`,
    { hint: `Nothing was touched. Choose a larger disk with --data-dir${instead}.` },
  );
}
