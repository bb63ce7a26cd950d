import { randomUUID } from 'node:crypto';
import { AwsError } from './aws-error.ts';

/** How a service’s calls are written on the wire. */
export interface Protocol {
  readonly contentType: string;
  /** @throws AwsError for what is no call */
  parse(target: string | undefined, body: string): { operation: string; input: Record<string, unknown> };
  answer(operation: string, result: Readonly<Record<string, unknown>>): string;
  fail(error: AwsError): string;
}

/** JSON 1.1: the operation is in the header X-Amz-Target (SSM, Secrets Manager). */
export const JSON_PROTOCOL: Protocol = {
  contentType: 'application/x-amz-json-1.1',
  parse: (target, body) => {
    const operation = target?.split('.').at(-1);
    if (!operation) throw new AwsError('UnknownOperationException', 'The header X-Amz-Target is missing.');
    try {
      return { operation, input: JSON.parse(body === '' ? '{}' : body) as Record<string, unknown> };
    } catch {
      throw new AwsError('SerializationException', 'The body is no JSON.');
    }
  },
  answer: (_operation, result) => JSON.stringify(result),
  fail: ({ code, message }) => JSON.stringify({ __type: code, message }),
};

/** The query protocol: a form in, XML out (SNS, STS). */
export const QUERY_PROTOCOL: Protocol = {
  contentType: 'text/xml',
  parse: (_target, body) => {
    const { Action: operation, ...input } = Object.fromEntries(new URLSearchParams(body));
    if (!operation) throw new AwsError('InvalidAction', 'The form names no Action.');
    return { operation, input };
  },
  answer: (operation, result) =>
    `<${operation}Response><${operation}Result>${elements(result)}</${operation}Result>` +
    `<ResponseMetadata><RequestId>${randomUUID()}</RequestId></ResponseMetadata></${operation}Response>`,
  fail: ({ code, message, status }) =>
    `<ErrorResponse><Error><Type>${status < 500 ? 'Sender' : 'Receiver'}</Type>` +
    `${elements({ Code: queryCode(code), Message: message })}</Error><RequestId>${randomUUID()}</RequestId></ErrorResponse>`,
};

/** EC2’s own kind of it: no element of the operation’s name around the result, lists of `item`, another error. */
export const EC2_PROTOCOL: Protocol = {
  ...QUERY_PROTOCOL,
  answer: (operation, result) =>
    `<${operation}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">` +
    `<requestId>${randomUUID()}</requestId>${elements(result)}</${operation}Response>`,
  fail: ({ code, message }) => {
    const error = {
      Code: code === 'AccessDeniedException' ? 'UnauthorizedOperation' : code,
      Message: message,
    };
    return `<Response><Errors><Error>${elements(error)}</Error></Errors><RequestID>${randomUUID()}</RequestID></Response>`;
  },
};

/** The query protocol’s services leave the suffix out. */
const queryCode = (code: string): string => (code === 'AccessDeniedException' ? 'AuthorizationError' : code);

function elements(values: Readonly<Record<string, unknown>>): string {
  return Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `<${name}>${content(value)}</${name}>`)
    .join('');
}

function content(value: unknown): string {
  if (Array.isArray(value)) return value.map((item) => `<item>${content(item)}</item>`).join('');
  return typeof value === 'object' && value !== null
    ? elements(value as Record<string, unknown>)
    : escapeXml(String(value));
}

const escapeXml = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
