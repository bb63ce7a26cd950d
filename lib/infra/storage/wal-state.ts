import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { hasTaggedHosts } from '../../domain/watch/places.ts';

/**
 * Where the stream of WAL keeps the open segment's pieces and its records of holes in the state bucket, and verifications what they
 * found: below the deployment's prefix, and of hosts that were chosen by tag below a folder for each.
 */
export function walStateFolders({ storage, series }: DeploymentConfig): string[] {
  const places = [storage.prefix, ...(hasTaggedHosts(series) ? [`${storage.prefix}/i-*`] : [])];
  return places.flatMap((place) => ['journal', 'holes', 'verdicts'].map((folder) => `${place}/${folder}`));
}
