import type { LastCommit } from '../lib/domain/wal/wal-metadata.ts';
import { commitCandidates, type RestorableStretch } from '../lib/domain/wal/window.ts';
import { lastCommitIn, type WalPlace } from './watch/wal-survey.ts';

/**
 * More objects in a row without a commit are not asked: the end of a stretch is then told a little early. A server that commits
 * nothing for a while has, with a heartbeat a minute and a piece of the journal every five seconds, twelve.
 */
const MOST_ASKED = 200;

/**
 * The last commits that tell where the stretches end, from the metadata of their newest objects.
 * @param beforeEach may throw to end it
 */
export async function readLastCommits(
  place: WalPlace,
  stretches: Iterable<RestorableStretch>,
  beforeEach: () => void = () => undefined,
): Promise<Map<string, LastCommit | null>> {
  const commits = new Map<string, LastCommit | null>();
  for (const stretch of stretches) {
    let asked = 0;
    for (const key of commitCandidates(stretch)) {
      beforeEach();
      if (!commits.has(key)) commits.set(key, await lastCommitIn(place, key));
      asked += 1;
      if (commits.get(key) || asked === MOST_ASKED) break;
    }
  }
  return commits;
}
