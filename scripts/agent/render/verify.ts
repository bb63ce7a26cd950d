import { formatBytes, formatDuration } from '../../../lib/domain/quantities.ts';
import type { VerifyResult } from '../commands/catalog/verify.ts';
import { renderErrorAsJson } from './error.ts';

export function renderVerify({ copies, durationMs }: VerifyResult): string[] {
  const good = copies.filter(({ verdict }) => verdict !== 'failed');
  const bytes = copies.reduce((sum, copy) => sum + copy.bytes, 0);
  const unproven = copies.filter(({ verdict }) => verdict === 'readable').length;
  return [
    `${good.length} of ${copies.length} copies good, ${formatBytes(bytes)} read in ${formatDuration(durationMs)}`,
    ...(unproven > 0
      ? [`${unproven} without a manifest: whole and readable, but nothing to compare them with`]
      : []),
  ];
}

export function verifyAsJson({ copies, durationMs, failure }: VerifyResult): unknown {
  return {
    operation: 'verify',
    durationMs: Math.round(durationMs),
    copies: copies.map((copy) => ({
      id: copy.id,
      store: copy.store,
      url: copy.url,
      bytes: copy.bytes,
      verdict: copy.verdict,
      ...(copy.failure ? { code: copy.failure.code, message: copy.failure.message } : {}),
    })),
    ...(failure ? (renderErrorAsJson(failure) as object) : { succeeded: true }),
  };
}
