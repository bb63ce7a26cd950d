import { mkdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startLocalS3, type LocalS3Options } from './s3/server.ts';

const USAGE = `Starts the S3 of the local AWS, and nothing else of it, on loopback: for trying the agent without an AWS account.
The whole of it, from the synthesized templates, runs in: npm run demo -- --keep (for tests: scripts/local-aws/start.ts).

  node scripts/local-aws/main.ts --folder DIR [--port PORT] [--region NAME] [--bucket NAME]... [--versioned] [--lock-days DAYS]

  --folder DIR      where everything is kept; the same folder gives the same buckets again
  --port PORT       0 or nothing: any free port
  --bucket NAME     makes the bucket if it is not there; may be repeated
  --versioned       makes buckets with versioning
  --lock-days DAYS  makes buckets with object lock and a governance retention of so many days
  --random-etags    spares the MD5 of every body
  --tls-key FILE --tls-cert FILE   speak https`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      folder: { type: 'string' },
      port: { type: 'string', default: '0' },
      region: { type: 'string', default: 'us-east-1' },
      bucket: { type: 'string', multiple: true, default: [] },
      versioned: { type: 'boolean', default: false },
      'lock-days': { type: 'string' },
      'random-etags': { type: 'boolean', default: false },
      'tls-key': { type: 'string' },
      'tls-cert': { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help || values.folder === undefined) {
    console.log(USAGE);
    process.exitCode = values.help ? 0 : 2;
    return;
  }
  const folder = resolve(values.folder);
  mkdirSync(folder, { recursive: true });
  const server = await startLocalS3({
    folder,
    port: Number(values.port),
    region: values.region,
    etags: values['random-etags'] ? 'random' : 'md5',
    ...tlsOf(values['tls-key'], values['tls-cert']),
  });
  const lockDays = values['lock-days'];
  for (const name of values.bucket)
    await server.ensureBucket(name, {
      versioned: values.versioned,
      ...(lockDays === undefined ? {} : { objectLockDays: Number(lockDays) }),
    });
  // Before anything is printed: whoever reads it may send the signal at once.
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void server.close().then(() => process.exit(0)));
  console.log(`endpoint: ${server.endpoint}
export AWS_ENDPOINT_URL_S3=${server.endpoint}
export AWS_REGION=${server.region}
export AWS_ACCESS_KEY_ID=${server.credentials.accessKeyId}
export AWS_SECRET_ACCESS_KEY=${server.credentials.secretAccessKey}`);
}

function tlsOf(key: string | undefined, cert: string | undefined): Pick<LocalS3Options, 'tls'> {
  if (key === undefined || cert === undefined) return {};
  return { tls: { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') } };
}

await main();
