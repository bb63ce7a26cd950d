import { LifeboatError, type ErrorCode } from '../lib/domain/errors.ts';

interface SdkError {
  readonly name?: unknown;
  readonly message?: unknown;
  readonly code?: unknown;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly attempts?: number };
}

/** AWS' own word, as in `ThrottlingException`; a network error's code otherwise. */
export function errorName(thrown: unknown): string {
  const { name, code } = (thrown ?? {}) as SdkError;
  if (typeof name === 'string' && name !== 'Error') return name;
  return typeof code === 'string' ? code : 'Error';
}

export function httpStatus(thrown: unknown): number | undefined {
  return ((thrown ?? {}) as SdkError).$metadata?.httpStatusCode;
}

export function attempts(thrown: unknown): number {
  return ((thrown ?? {}) as SdkError).$metadata?.attempts ?? 1;
}

/** Refused for coming too fast: certainly not done, and worth another try. */
export function isThrottling(thrown: unknown): boolean {
  return (
    /^(Throttling|ThrottlingException|ThrottledException|RequestThrottled|RateExceeded|RateExceededException|TooManyRequestsException|SlowDown)$/.test(
      errorName(thrown),
    ) || httpStatus(thrown) === 429
  );
}

/** The network's fault or the service's: whether it was done is not known. */
export function isUnclear(thrown: unknown): boolean {
  const status = httpStatus(thrown);
  return status === undefined || status >= 500;
}

/**
 * @param request as in `ssm:SendCommand on i-0123456789abcdef0`
 * The SDK's error is no cause of it: it may carry the whole request, session token included.
 */
export function serviceError(thrown: unknown, request: string): LifeboatError {
  if (thrown instanceof LifeboatError) return thrown;
  const { message } = (thrown ?? {}) as SdkError;
  const words =
    typeof message === 'string' && message !== '' ? message.replaceAll(/\s+/g, ' ') : 'no message';
  return new LifeboatError(
    codeOf(thrown, request),
    `${request} failed: ${words.slice(0, 500)} (${errorName(thrown)})`,
    { hint: hintOf(thrown, request) },
  );
}

function codeOf(thrown: unknown, request: string): ErrorCode {
  if (!request.startsWith('s3:')) return request.startsWith('sns:') ? 'UNDELIVERED' : 'SSM_FAILED';
  const status = httpStatus(thrown);
  if (status === 403) return 'S3_DENIED';
  if (errorName(thrown) === 'NoSuchBucket') return 'S3_NO_BUCKET';
  return status === undefined || status >= 500 ? 'S3_UNAVAILABLE' : 'S3_FAILED';
}

function hintOf(thrown: unknown, request: string): string {
  const action = request.split(' ')[0];
  return httpStatus(thrown) === 403 || /AccessDenied/.test(errorName(thrown))
    ? `Let the function’s role do ${action}: deploy the stack again, and look for a policy that denies it.`
    : 'It is tried again by itself where an event started it; otherwise run the same once more.';
}
