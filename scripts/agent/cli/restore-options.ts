import { LifeboatError } from '../../../lib/domain/errors.ts';

const MOST_JOBS = 64;

/** @throws LifeboatError USAGE */
export function parseJobs(text: unknown): number | undefined {
  if (text === undefined) return undefined;
  const jobs = Number(text);
  if (Number.isInteger(jobs) && jobs >= 1 && jobs <= MOST_JOBS) return jobs;
  throw new LifeboatError('USAGE', `--jobs ${JSON.stringify(text)} is no number from 1 to ${MOST_JOBS}`);
}
