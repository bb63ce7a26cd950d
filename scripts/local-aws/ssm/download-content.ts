import { chmod, mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { StepContext, StepResult } from './step.ts';

const inputsSchema = z.object({
  sourceType: z.literal('S3'),
  sourceInfo: z.union([z.string(), z.object({ path: z.string() })]),
  destinationPath: z.string().default(''),
});

/**
 * aws:downloadContent from S3, one object. Nothing is verified, and files are their owner's alone (0700).
 * A folder of objects is not done here: no document of ours downloads one.
 */
export async function downloadContent(rawInputs: unknown, context: StepContext): Promise<StepResult> {
  try {
    const { sourceInfo, destinationPath } = inputsSchema.parse(rawInputs);
    const source = typeof sourceInfo === 'string' ? (JSON.parse(sourceInfo) as { path: string }) : sourceInfo;
    const { bucket, key } = parseObjectUrl(source.path);
    if (context.cancelled.aborted) return result('Cancelled', 1, '', '');
    if (await context.objects.isFolder(bucket, key))
      return result('Failed', 1, '', `there are objects under ${key}/: the folder would be fetched`);
    const file = await destinationFile(destinationPath, key, context.downloadsFolder);
    await context.objects.download(bucket, key, file);
    await chmod(file, 0o700);
    return result('Success', 0, `Content downloaded to ${path.dirname(file)}`, '');
  } catch (error) {
    return result('Failed', 1, '', `failed to download content: ${(error as Error).message}`);
  }
}

/** Path style or virtual-host style; only https. @throws Error in the agent's words */
function parseObjectUrl(url: string): { bucket: string; key: string } {
  const hosted = /^https:\/\/([a-z0-9.-]+)\.s3[.-][a-z0-9.-]*amazonaws\.com(?:\.cn)?\/([^?]+)/.exec(url);
  const plain = /^https:\/\/s3[.-][a-z0-9.-]*amazonaws\.com(?:\.cn)?\/([^/]+)\/([^?]+)/.exec(url);
  const [, bucket, key] = hosted ?? plain ?? [];
  if (bucket === undefined || key === undefined) throw new Error('invalid S3 path parameter');
  return { bucket, key: decodeURIComponent(key) };
}

/** A path that neither ends in a slash nor is a folder is the file's own name. */
async function destinationFile(wanted: string, key: string, downloads: string): Promise<string> {
  const target = path.resolve(downloads, wanted);
  const isFolder =
    wanted === '' ||
    wanted.endsWith('/') ||
    (await stat(target).catch(() => undefined))?.isDirectory() === true;
  const file = isFolder ? path.join(target, path.basename(key)) : target;
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  return file;
}

const result = (status: StepResult['status'], code: number, stdout: string, stderr: string): StepResult => ({
  status,
  code,
  stdout,
  stderr,
  skipsRest: false,
});
