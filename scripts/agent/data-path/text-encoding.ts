/** Reads the text of a dump, which is written in the encoding of its database. */
export type DecodeText = (bytes: Buffer) => string;

export const decodeUtf8: DecodeText = (bytes) => bytes.toString('utf8');

/** As pg_dump writes the encoding into its dumps, plain and custom alike. */
const SET_ENCODING = /^SET client_encoding = '(\w+)'/;

/** PostgreSQL’s name of the encoding that `statement` sets; `undefined` when it says nothing about it. */
export function encodingOf(statement: string): string | undefined {
  return SET_ENCODING.exec(statement)?.[1];
}

/**
 * PostgreSQL's server encodings (https://www.postgresql.org/docs/current/multibyte.html) by the labels of the Encoding
 * Standard. There ISO-8859-1 means windows-1252, so LATIN1 is left to Buffer. EUC_TW and MULE_INTERNAL have no label, and
 * SQL_ASCII is any encoding: their names are read as UTF-8, as a client would.
 */
const LABELS: Readonly<Record<string, string>> = {
  LATIN2: 'iso-8859-2',
  LATIN3: 'iso-8859-3',
  LATIN4: 'iso-8859-4',
  LATIN5: 'iso-8859-9',
  LATIN6: 'iso-8859-10',
  LATIN7: 'iso-8859-13',
  LATIN8: 'iso-8859-14',
  LATIN9: 'iso-8859-15',
  LATIN10: 'iso-8859-16',
  ISO_8859_5: 'iso-8859-5',
  ISO_8859_6: 'iso-8859-6',
  ISO_8859_7: 'iso-8859-7',
  ISO_8859_8: 'iso-8859-8',
  WIN1250: 'windows-1250',
  WIN1251: 'windows-1251',
  WIN1252: 'windows-1252',
  WIN1253: 'windows-1253',
  WIN1254: 'windows-1254',
  WIN1255: 'windows-1255',
  WIN1256: 'windows-1256',
  WIN1257: 'windows-1257',
  WIN1258: 'windows-1258',
  WIN866: 'ibm866',
  WIN874: 'windows-874',
  KOI8R: 'koi8-r',
  KOI8U: 'koi8-u',
  EUC_JP: 'euc-jp',
  EUC_JIS_2004: 'euc-jp',
  EUC_CN: 'gbk',
  EUC_KR: 'euc-kr',
};

export function findDecoder(encoding: string): DecodeText {
  if (encoding === 'LATIN1') return (bytes) => bytes.toString('latin1');
  const label = LABELS[encoding];
  if (label === undefined) return decodeUtf8;
  const decoder = new TextDecoder(label);
  return (bytes) => decoder.decode(bytes);
}
