import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { malformedXml } from './s3-error.ts';

const NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/';

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\r': '&#13;',
};

function escapeXml(text: string): string {
  return text.replace(/[&<>"\r]/g, (character) => ESCAPES[character] ?? character);
}

/** `<name>text</name>`, or nothing when the value is undefined. */
export function leaf(name: string, value: string | number | boolean | undefined): string {
  return value === undefined ? '' : `<${name}>${escapeXml(String(value))}</${name}>`;
}

/** `<name>…</name>` around elements that are XML already. */
export function node(name: string, ...children: readonly string[]): string {
  return `<${name}>${children.join('')}</${name}>`;
}

export function xmlDocument(name: string, ...children: readonly string[]): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${name} xmlns="${NAMESPACE}">${children.join('')}</${name}>`;
}

/** Errors carry no namespace. */
export function errorDocument(fields: Readonly<Record<string, string>>): string {
  const children = Object.entries(fields).map(([name, value]) => leaf(name, value));
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error>${children.join('')}</Error>`;
}

const parser = new XMLParser({
  ignoreAttributes: true,
  ignoreDeclaration: true,
  // Keys are text: `007`, `true` and ` padded ` must come out as they went in.
  parseTagValue: false,
  trimValues: false,
  htmlEntities: true,
  removeNSPrefix: true,
});

/** A parsed element: its text, or its children by name (several of one name as an array). */
export type XmlElement = string | { readonly [name: string]: XmlElement | readonly XmlElement[] };

/** @throws S3Error MalformedXML, also when the root element is not `root`. */
export function parseXml(body: Buffer, root: string): XmlElement {
  const text = body.toString('utf8');
  if (holdsForbiddenCharacter(text) || XMLValidator.validate(text) !== true) throw malformedXml();
  const document = parser.parse(text) as Record<string, XmlElement>;
  const element = document[root];
  if (element === undefined) throw malformedXml();
  return element;
}

/** What XML 1.0 has no place for, not even written as a reference (https://www.w3.org/TR/xml/#charsets). */
function holdsForbiddenCharacter(text: string): boolean {
  const references = text.matchAll(/&#(?:x([0-9a-f]+)|([0-9]+));/gi);
  const points = Array.from(references, ([, hex, decimal]) =>
    hex === undefined ? Number(decimal) : Number.parseInt(hex, 16),
  );
  return FORBIDDEN.test(text) || points.some((point) => !isXmlCharacter(point));
}

// oxlint-disable-next-line no-control-regex -- these are the ones to find
const FORBIDDEN = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]/;

function isXmlCharacter(point: number): boolean {
  if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
  return !FORBIDDEN.test(String.fromCodePoint(point));
}

export function childrenOf(element: XmlElement | undefined, name: string): readonly XmlElement[] {
  if (element === undefined || typeof element === 'string') return [];
  const found = element[name];
  if (found === undefined) return [];
  return Array.isArray(found) ? (found as readonly XmlElement[]) : [found as XmlElement];
}

export function childOf(element: XmlElement | undefined, name: string): XmlElement | undefined {
  return childrenOf(element, name)[0];
}

/** The text of a child, `undefined` when there is no such child. */
export function textOf(element: XmlElement | undefined, name: string): string | undefined {
  const child = childOf(element, name);
  if (child === undefined) return undefined;
  if (typeof child === 'string') return child;
  const text = child['#text'];
  return typeof text === 'string' ? text : '';
}
