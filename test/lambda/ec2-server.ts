import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Principal } from '../../scripts/local-aws/access/principal.ts';
import { ec2Service, type Ec2Instance } from '../../scripts/local-aws/ec2/service.ts';
import { AwsError } from '../../scripts/local-aws/http/aws-error.ts';
import { EC2_PROTOCOL } from '../../scripts/local-aws/http/protocols.ts';

/** EC2 as the Lambdas ask for it: tests say what there is and how it fails. */
export interface Ec2Server {
  readonly endpoint: string;
  /** By id. What SSM's server has under a tag is there too, and runs. */
  readonly instances: Map<string, Omit<Ec2Instance, 'instanceId'>>;
  /** Errors for the next calls. */
  readonly faults: { readonly status: number; readonly code: string }[];
  /** The forms of all calls. */
  readonly calls: URLSearchParams[];
  close(): Promise<void>;
}

/** Whoever reads only the first page is found out. */
const PER_PAGE = 2;

/** @param tagged by `key=value`: ids of instances that run */
export async function startEc2(tagged: ReadonlyMap<string, readonly string[]>): Promise<Ec2Server> {
  const known: Pick<Ec2Server, 'instances' | 'faults' | 'calls'> = {
    instances: new Map(),
    faults: [],
    calls: [],
  };
  const anybody = { check: () => undefined };
  const service = ec2Service(() => listAll(known.instances, tagged), anybody, PER_PAGE);
  const answer = async (body: string): Promise<{ status: number; xml: string }> => {
    known.calls.push(new URLSearchParams(body));
    try {
      const fault = known.faults.shift();
      if (fault) throw new AwsError(fault.code, 'on demand', fault.status);
      const call = { ...EC2_PROTOCOL.parse(undefined, body), caller: {} as Principal };
      return { status: 200, xml: EC2_PROTOCOL.answer(call.operation, await service(call)) };
    } catch (error) {
      if (!(error instanceof AwsError)) throw error;
      return { status: error.status, xml: EC2_PROTOCOL.fail(error) };
    }
  };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      void answer(Buffer.concat(chunks).toString('utf8')).then(({ status, xml }) =>
        response.writeHead(status, { 'content-type': EC2_PROTOCOL.contentType }).end(xml),
      );
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    ...known,
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listAll(
  instances: Ec2Server['instances'],
  tagged: ReadonlyMap<string, readonly string[]>,
): Ec2Instance[] {
  const all = new Map<string, Ec2Instance>();
  for (const [tag, ids] of tagged) {
    const [key = '', value = ''] = tag.split('=');
    for (const instanceId of ids)
      all.set(instanceId, { instanceId, tags: { [key]: value }, state: 'running' });
  }
  for (const [instanceId, given] of instances) all.set(instanceId, { instanceId, ...given });
  return [...all.values()];
}
