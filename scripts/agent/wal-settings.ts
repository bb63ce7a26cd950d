import { z } from 'zod';
import { ENV } from '../../lib/domain/names.ts';
import { slotNameOf } from '../../lib/domain/wal/slot-name.ts';
import { numberAboveZero, numberBetween } from './number-settings.ts';

/** Of the commands `wal …`. */
export interface WalSettings {
  readonly slot: string;
  /** New bytes of the open segment go to S3 so often. */
  readonly journalSeconds: number;
  /** A commit of our own follows when there was none for so long. */
  readonly heartbeatSeconds: number;
  /** Where PostgreSQL has no limit of its own: a slot that holds more is let go of. */
  readonly slotCapBytes: number;
  /** `wal status` fails when S3 is further behind. */
  readonly maxLagSeconds: number;
}

const UNITS = { MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 } as const;

export const WAL_SHAPE = {
  [ENV.walSlot]: z
    .string()
    .regex(/^[a-z0-9_]{1,63}$/, 'is no name for a replication slot: at most 63 of a-z, 0-9 and _')
    .optional(),
  [ENV.walJournalSeconds]: numberBetween(1, 3600).default(5),
  [ENV.walHeartbeatSeconds]: numberBetween(1, 3600).default(60),
  [ENV.walSlotCap]: z
    .string()
    .regex(/^[1-9]\d{0,6}(?:MB|GB|TB)$/, 'must be a size as PostgreSQL writes it, such as 64GB')
    .default('64GB'),
  [ENV.maxWalLagSeconds]: numberAboveZero().default(300),
} as const;

type Parsed = z.infer<z.ZodObject<typeof WAL_SHAPE>>;

export function toWalSettings(parsed: Parsed, app: string): WalSettings {
  return {
    slot: parsed[ENV.walSlot] ?? slotNameOf(app),
    journalSeconds: parsed[ENV.walJournalSeconds],
    heartbeatSeconds: parsed[ENV.walHeartbeatSeconds],
    slotCapBytes: bytesOf(parsed[ENV.walSlotCap]),
    maxLagSeconds: parsed[ENV.maxWalLagSeconds],
  };
}

function bytesOf(size: string): number {
  return Number(size.slice(0, -2)) * UNITS[size.slice(-2) as keyof typeof UNITS];
}
