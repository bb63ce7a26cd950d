import { inspect } from 'node:util';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { s3Error } from '../../../scripts/agent/s3/s3-error.ts';

const REQUEST = { action: 's3:PutObject', url: 's3://backups/database/a.sql.gz' };

function fault(name: string, status: number | undefined, extra: object = {}): Error {
  const metadata = status === undefined ? {} : { $metadata: { httpStatusCode: status, attempts: 1 } };
  return Object.assign(new Error(`${name} says`), { name, ...metadata, ...extra });
}

describe('An error of S3', () => {
  it.each([
    ['AccessDenied', 403, 'S3_DENIED'],
    ['Unknown', 403, 'S3_DENIED'],
    ['InvalidAccessKeyId', 403, 'S3_DENIED'],
    ['SignatureDoesNotMatch', 403, 'S3_DENIED'],
    ['ExpiredToken', 400, 'S3_DENIED'],
    ['RequestTimeTooSkewed', 403, 'S3_DENIED'],
    ['CredentialsProviderError', undefined, 'S3_DENIED'],
    ['NoSuchBucket', 404, 'S3_NO_BUCKET'],
    ['NotFound', 404, 'BACKUP_NOT_FOUND'],
    ['PermanentRedirect', 301, 'S3_FAILED'],
    ['301', 301, 'S3_FAILED'],
    ['AuthorizationHeaderMalformed', 400, 'S3_FAILED'],
    ['InvalidArgument', 400, 'S3_FAILED'],
    ['BadDigest', 400, 'S3_FAILED'],
    ['PreconditionFailed', 412, 'OBJECT_EXISTS'],
    ['InvalidRange', 416, 'CORRUPT'],
    ['SlowDown', 503, 'S3_UNAVAILABLE'],
    ['InternalError', 500, 'S3_UNAVAILABLE'],
    ['TooManyRequests', 429, 'S3_UNAVAILABLE'],
    ['TimeoutError', undefined, 'S3_UNAVAILABLE'],
  ])('%s with status %s is %s, and names action, object and answer', (name, status, code) => {
    const error = s3Error(fault(name, status), REQUEST);
    expect(error).toMatchObject({ code });
    for (const part of [REQUEST.action, REQUEST.url, name]) expect(error.message).toContain(part);
    expect(error.hint).not.toBe('');
  });

  it.each(['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EHOSTUNREACH'])(
    'of the network, %s, is S3_UNAVAILABLE',
    (code) => {
      const error = s3Error(Object.assign(new Error(''), { code }), REQUEST);
      expect(error).toMatchObject({ code: 'S3_UNAVAILABLE' });
      expect(error.message).toContain(code);
    },
  );

  it('of a certificate says how to trust it', () => {
    const error = s3Error(
      Object.assign(new Error('self-signed'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }),
      REQUEST,
    );
    expect(error.hint).toContain('NODE_EXTRA_CA_CERTS');
  });

  it.each([{ Region: 'eu-west-1' }, { $response: { headers: { 'x-amz-bucket-region': 'eu-west-1' } } }])(
    'of a wrong region names the right one: %j',
    (extra) => {
      expect(s3Error(fault('AuthorizationHeaderMalformed', 400, extra), REQUEST).hint).toContain(
        'AWS_REGION=eu-west-1',
      );
    },
  );

  it('of a wrong clock says so', () => {
    expect(s3Error(fault('RequestTimeTooSkewed', 403), REQUEST).hint).toContain('clock');
  });

  it('carries nothing of the request, where the session token stands', () => {
    const secret = 'FwoGZXIvYXdzEXAMPLETOKEN';
    const request = { headers: { 'x-amz-security-token': secret } };
    const thrown = fault('AccessDenied', 403, { $request: request, $response: { headers: {}, request } });
    expect(inspect(s3Error(thrown, REQUEST), { depth: 9, showHidden: true })).not.toContain(secret);
  });

  it('that is none of S3’s is a defect of ours', () => {
    expect(s3Error(new TypeError('x is not a function'), REQUEST)).toMatchObject({ code: 'BUG' });
  });

  it('that is a LifeboatError already stays as it is', () => {
    const error = new LifeboatError('CORRUPT', 'short');
    expect(s3Error(error, REQUEST)).toBe(error);
  });
});
