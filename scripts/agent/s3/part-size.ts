/**
 * How large each part of a multipart upload is. S3 takes 10,000 parts of 5 MiB to 5 GiB and objects up to 5 TiB, and a
 * dump's length is known only when it is over, so parts start small (memory) and grow (length):
 * 8 MiB more every 800 parts up to part 4,800 (131 GiB in all, 48 MiB a part), from there 248 MiB more every 800, which
 * is what 5 TiB takes. https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
 */
const MIB = 1024 * 1024;
export const FIRST_PART_SIZE = 8 * MIB;
export const MAX_PARTS = 10_000;

const PARTS_PER_STEP = 800;
const SMALL_STEPS = 6;
const LARGE_STEP = 248 * MIB;

/** @param partNumber from 1. @returns bytes */
export function partSize(partNumber: number): number {
  const step = Math.floor((partNumber - 1) / PARTS_PER_STEP);
  const large = Math.max(0, step - (SMALL_STEPS - 1));
  return FIRST_PART_SIZE * (Math.min(step, SMALL_STEPS - 1) + 1) + LARGE_STEP * large;
}

const MAX_IN_FLIGHT = 3;
const MEMORY_IN_FLIGHT = 128 * MIB;

/** Parts under way at once (another one is being filled): three while they are small, fewer as they grow. */
export function partsInFlight(size: number): number {
  return Math.max(1, Math.min(MAX_IN_FLIGHT, Math.floor(MEMORY_IN_FLIGHT / size)));
}
