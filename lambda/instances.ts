import type { SSMClient } from '@aws-sdk/client-ssm';
import { SignatureV4 } from '@smithy/signature-v4';
import { XMLParser } from 'fast-xml-parser';
import { z } from 'zod';
import type { Clock } from './clock.ts';
import { serviceError } from './sdk-error.ts';

/** EC2's word on who carries a tag: SSM tells of nobody who is stopped, nor of those whose agent never came. */
export interface Instances {
  /**
   * Instances that carry the tag, by id, each with its state (`running`, `stopped`, …); none that has been terminated.
   * @throws LifeboatError SSM_FAILED when EC2 does not tell
   */
  withTag(key: string, value: string): Promise<ReadonlyMap<string, string>>;
}

export interface Ec2Access {
  /** As in `https://ec2.eu-west-1.amazonaws.com`. */
  readonly endpoint: string;
  /** Of any client of the SDK's, which has found out all of it. */
  readonly signing: Pick<SSMClient['config'], 'region' | 'credentials' | 'sha256'>;
  readonly clock: Clock;
}

const STATES = ['pending', 'running', 'stopping', 'stopped'];
const API_VERSION = '2016-11-15';
/** The most that DescribeInstances gives. */
const PER_PAGE = 1000;
const TRIES = 5;
const FIRST_PAUSE_MS = 200;
const TIMEOUT_MS = 10_000;

/**
 * EC2 by its query API (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html). The SDK's client
 * brings all of its seven hundred operations: half a megabyte in a bundle that may have one, for this single question.
 */
export function openInstances(access: Ec2Access): Instances {
  return {
    withTag: async (key, value) => {
      const states = new Map<string, string>();
      let token: string | undefined;
      do {
        const page = await describe(access, { key, value, token });
        for (const { instanceId, instanceState } of page.instances)
          states.set(instanceId, instanceState.name);
        token = page.token;
      } while (token !== undefined);
      return states;
    },
  };
}

interface Question {
  readonly key: string;
  readonly value: string;
  readonly token: string | undefined;
}

/** `*` and `?` are wildcards in a filter's value. */
function escapeFilter(value: string): string {
  return value.replaceAll(/[\\*?]/g, String.raw`\$&`);
}

async function describe(access: Ec2Access, { key, value, token }: Question): Promise<Page> {
  const form = new URLSearchParams({
    Action: 'DescribeInstances',
    Version: API_VERSION,
    MaxResults: String(PER_PAGE),
    'Filter.1.Name': `tag:${key}`,
    'Filter.1.Value.1': escapeFilter(value),
    'Filter.2.Name': 'instance-state-name',
    ...Object.fromEntries(STATES.map((state, index) => [`Filter.2.Value.${index + 1}`, state])),
    ...(token !== undefined && { NextToken: token }),
  });
  for (let attempt = 1; ; attempt += 1) {
    const failure = await post(access, form.toString()).then(
      (page) => ({ page }),
      (error: unknown) => ({ error }),
    );
    if ('page' in failure) return failure.page;
    if (attempt === TRIES || !isPassing(failure.error))
      throw serviceError(failure.error, `ec2:DescribeInstances for the tag ${key}=${value}`);
    await access.clock.sleep(Math.round(FIRST_PAUSE_MS * 2 ** attempt * access.clock.random()));
  }
}

/** Too many requests (503), a fault of EC2's, or of the network: asking again does no harm. */
function isPassing(error: unknown): boolean {
  return !(error instanceof Ec2Error) || error.$metadata.httpStatusCode >= 500;
}

async function post({ endpoint, signing, clock }: Ec2Access, body: string): Promise<Page> {
  const { hostname, port, protocol, host } = new URL(endpoint);
  const { region, credentials, sha256 } = signing;
  const signer = new SignatureV4({ service: 'ec2', region, credentials, sha256 });
  const request = {
    method: 'POST',
    protocol,
    hostname,
    ...(port !== '' && { port: Number(port) }),
    path: '/',
    query: {},
    headers: { host, 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' },
    body,
  };
  const { headers } = await signer.sign(request, { signingDate: clock.now() });
  const answer = await fetch(endpoint, {
    method: 'POST',
    headers,
    body,
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const xml = parser.parse(await answer.text()) as unknown;
  if (!answer.ok) throw new Ec2Error(xml, answer.status);
  return readPage(xml);
}

const parser = new XMLParser({
  ignoreAttributes: true,
  ignoreDeclaration: true,
  parseTagValue: false,
  isArray: (name) => name === 'item',
});

/** An element without children is an empty text. */
function listOf<Item extends z.ZodType>(item: Item) {
  return z.union([
    z.literal('').transform(() => []),
    z.object({ item: z.array(item) }).transform((list) => list.item),
  ]);
}

const instanceSchema = z.object({ instanceId: z.string(), instanceState: z.object({ name: z.string() }) });

const answerSchema = z.object({
  DescribeInstancesResponse: z.object({
    reservationSet: listOf(z.object({ instancesSet: listOf(instanceSchema) })),
    nextToken: z.string().optional(),
  }),
});

interface Page {
  readonly instances: readonly z.infer<typeof instanceSchema>[];
  readonly token: string | undefined;
}

function readPage(xml: unknown): Page {
  const { reservationSet, nextToken } = answerSchema.parse(xml).DescribeInstancesResponse;
  return {
    instances: reservationSet.flatMap(({ instancesSet }) => instancesSet),
    token: nextToken || undefined,
  };
}

const errorSchema = z.object({
  Response: z.object({ Errors: z.object({ Error: z.object({ Code: z.string(), Message: z.string() }) }) }),
});

/** As the SDK's errors are, for lambda/sdk-error.ts. */
class Ec2Error extends Error {
  readonly $metadata: { readonly httpStatusCode: number };

  constructor(xml: unknown, status: number) {
    const parsed = errorSchema.safeParse(xml);
    const { Code, Message } = parsed.success
      ? parsed.data.Response.Errors.Error
      : { Code: 'UnknownError', Message: `HTTP status ${status}` };
    super(Message);
    this.name = Code;
    this.$metadata = { httpStatusCode: status };
  }
}
