import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { AccessControl } from '../access/access-control.ts';
import type { Principal } from '../access/principal.ts';
import { S3Error } from '../s3/s3-error.ts';
import { parseRequest } from '../s3/s3-request.ts';
import { SignatureVerifier } from '../s3/signature.ts';
import { AwsError } from './aws-error.ts';
import { EC2_PROTOCOL, JSON_PROTOCOL, QUERY_PROTOCOL, type Protocol } from './protocols.ts';
import type { Service } from './service.ts';

/** The name that a signature’s scope gives the service. */
export type ServiceName = 'ec2' | 'ssm' | 'sns' | 'sts' | 'secretsmanager';

const PROTOCOLS: Readonly<Record<ServiceName, Protocol>> = {
  ec2: EC2_PROTOCOL,
  ssm: JSON_PROTOCOL,
  secretsmanager: JSON_PROTOCOL,
  sns: QUERY_PROTOCOL,
  sts: QUERY_PROTOCOL,
};

const MAX_BODY = 1024 * 1024;

interface EndpointOptions {
  readonly region: string;
  readonly principals: readonly Principal[];
  readonly access: AccessControl;
  readonly services: Readonly<Record<ServiceName, Service>>;
}

/** Every service but S3 behind one address: `AWS_ENDPOINT_URL`. */
export class Endpoint {
  readonly #options: EndpointOptions;
  readonly #server: Server;
  readonly #verifiers: ReadonlyMap<string, SignatureVerifier>;

  private constructor(options: EndpointOptions) {
    this.#options = options;
    const credentials = options.principals.map((each) => each.credentials);
    this.#verifiers = new Map(
      Object.keys(PROTOCOLS).map((name) => [
        name,
        new SignatureVerifier(options.region, credentials, Date.now, name),
      ]),
    );
    this.#server = createServer((message, response) => void this.#handle(message, response));
    this.#server.keepAliveTimeout = 65_000;
  }

  static async start(options: EndpointOptions): Promise<Endpoint> {
    const endpoint = new Endpoint(options);
    await new Promise<void>((resolve) => {
      endpoint.#server.listen(0, '127.0.0.1', resolve);
    });
    return endpoint;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
    this.#server.closeAllConnections();
    await closed;
  }

  async #handle(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const name = serviceOf(message);
    const protocol = name === undefined ? JSON_PROTOCOL : PROTOCOLS[name];
    let status = 200;
    let body: string;
    try {
      if (name === undefined)
        throw new AwsError('UnknownService', 'no service of the local AWS is asked', 404);
      body = await this.#answer(name, message);
    } catch (error) {
      const failure = asAwsError(error);
      status = failure.status;
      body = protocol.fail(failure);
    }
    response.writeHead(status, { 'Content-Type': protocol.contentType });
    response.end(body);
  }

  async #answer(name: ServiceName, message: IncomingMessage): Promise<string> {
    const body = await readBody(message);
    const verified = this.#verifiers.get(name)?.verify(parseRequest(message, ''));
    if (!verified || verified.payloadHash !== createHash('sha256').update(body).digest('hex'))
      throw new AwsError('InvalidSignatureException', 'The body is not the one that was signed.', 403);
    const { access, services } = this.#options;
    const protocol = PROTOCOLS[name];
    const target = message.headers['x-amz-target'];
    const { operation, input } = protocol.parse(String(target ?? ''), body.toString('utf8'));
    const caller = access.principal(verified.accessKeyId);
    return protocol.answer(operation, await services[name]({ operation, input, caller }));
  }
}

function serviceOf(message: IncomingMessage): ServiceName | undefined {
  const scope = /Credential=[^/]+\/\d+\/[\w-]+\/([a-z0-9-]+)\//.exec(message.headers.authorization ?? '');
  return Object.keys(PROTOCOLS).find((name): name is ServiceName => name === scope?.[1]);
}

async function readBody(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new AwsError('RequestEntityTooLarge', 'The body is too large.', 413);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function asAwsError(error: unknown): AwsError {
  if (error instanceof AwsError) return error;
  if (error instanceof S3Error) return new AwsError(signatureCode(error.code), error.message, error.status);
  const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new AwsError('InternalServerError', `The local AWS failed: ${reason}`, 500);
}

/** The signature is verified by S3’s code; the other services have names of their own for what is wrong with it. */
const signatureCode = (code: string): string =>
  code === 'SignatureDoesNotMatch' ? 'InvalidSignatureException' : 'UnrecognizedClientException';
