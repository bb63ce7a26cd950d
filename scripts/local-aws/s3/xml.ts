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
  if (XMLValidator.validate(text) !== true) throw malformedXml();
  const document = parser.parse(text) as Record<string, XmlElement>;
  const element = document[root];
  if (element === undefined) throw malformedXml();
  return element;
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
