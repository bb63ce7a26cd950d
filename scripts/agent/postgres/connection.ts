import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { Client } from 'pg';
import { LifeboatError } from '../../../lib/domain/errors.ts';
import { ENV } from '../../../lib/domain/names.ts';
import type { DatabaseSettings } from '../settings.ts';
import type { Environment } from '../environment.ts';

/** Queries through the wire protocol. The tools (pg_dump, psql, …) get the same settings from `toolEnvironment`. */
export interface Connection {
  /** One statement with `$1` parameters. @throws LifeboatError DB_QUERY */
  rows<Row extends Record<string, unknown>>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 10_000;

/**
 * @throws LifeboatError DB_CONNECT with what PostgreSQL or the network said; the password is never part of it.
 */
export async function connect(
  settings: DatabaseSettings,
  environment: Environment,
  database: string,
): Promise<Connection> {
  const client = await connectClient(settings, environment, database);
  return {
    rows: (sql, values) => queryRows(client, sql, values),
    close: () => closeClient(client),
  };
}

export interface ClientOptions {
  readonly applicationName?: string;
  /** A physical replication connection: no SQL, and no database. */
  readonly replication?: {
    /** Settings for the session, as in PGOPTIONS. */
    readonly options: string;
    /** The socket to connect with, a fresh one for each try. */
    readonly stream: () => Socket;
  };
}

/**
 * The same, for what speaks the protocol itself. To be closed with `closeClient`.
 * @throws LifeboatError DB_CONNECT
 */
export async function connectClient(
  settings: DatabaseSettings,
  environment: Environment,
  database: string,
  options: ClientOptions = {},
): Promise<Client> {
  try {
    const choices = tlsChoices(settings, environment);
    return await connectByMode(choices, (ssl) => openClient({ settings, database, ssl, options }));
  } catch (cause) {
    throw connectError(cause, settings, database);
  }
}

const CLOSE_TIMEOUT_MS = 3_000;

/** A server that is frozen or cut off answers no farewell; the locks of our process must not wait for it. */
export async function closeClient(client: Client): Promise<void> {
  const ended = client.end().catch(() => undefined);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(() => {
      (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
      resolve();
    }, CLOSE_TIMEOUT_MS);
  });
  await Promise.race([ended, late]);
  clearTimeout(timer);
}

/** Tries each way in turn, as libpq does; what the last one met is what is told. */
async function connectByMode(
  choices: readonly TlsChoice[],
  open: (ssl: TlsChoice) => Promise<Client>,
): Promise<Client> {
  for (const [index, ssl] of choices.entries()) {
    try {
      return await open(ssl);
    } catch (error) {
      if (index === choices.length - 1 || !saysNothingAboutUs(error)) throw error;
    }
  }
  throw new LifeboatError('BUG', 'No way to connect was tried');
}

/** The server has no TLS, or its pg_hba.conf wants the other kind of connection; a wrong password is final. */
function saysNothingAboutUs(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  return code === '28000' || /does not support SSL/.test(message ?? '');
}

async function openClient({
  settings,
  database,
  ssl,
  options: { applicationName = 'lifeboat', replication },
}: {
  readonly settings: DatabaseSettings;
  readonly database: string;
  readonly ssl: TlsChoice;
  readonly options: ClientOptions;
}): Promise<Client> {
  const client = new Client({
    host: settings.host,
    port: settings.port,
    user: settings.user,
    password: settings.password,
    database,
    ssl,
    application_name: applicationName,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    ...(replication ? { replication: 'true', ...replication } : {}),
  });
  // Without a listener a connection that breaks between two queries ends the process; the next query reports it.
  client.on('error', () => undefined);
  try {
    await client.connect();
    if (replication) return client;
    // Time limits of the role or the server, and a read-only default, are meant for applications, not for a backup or restore.
    await client.query(
      'SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET default_transaction_read_only = off; SET search_path = pg_catalog',
    );
    await client.query(UNLIMITED);
    return client;
  } catch (error) {
    await closeClient(client);
    throw error;
  }
}

/** Limits that older servers do not know: before 14 the one, before 17 the other. */
const UNLIMITED = `
  SELECT set_config(name, '0', false) FROM unnest(ARRAY['idle_session_timeout', 'transaction_timeout']) AS name
   WHERE current_setting(name, true) IS NOT NULL`;

async function queryRows<Row extends Record<string, unknown>>(
  client: Client,
  sql: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  try {
    return (await client.query<Row>(sql, [...values])).rows;
  } catch (cause) {
    const message = (cause as Error).message;
    const detail = (cause as { detail?: string }).detail;
    throw new LifeboatError(
      'DB_QUERY',
      `PostgreSQL refused a statement: ${message}${detail ? ` (${detail})` : ''}`,
      {
        cause,
      },
    );
  }
}

type TlsChoice = false | ConnectionOptions;

/**
 * libpq's meaning of PGSSLMODE, so that our queries and PostgreSQL's tools agree: only verify-ca and verify-full look at
 * the certificate (https://www.postgresql.org/docs/current/libpq-ssl.html). A Unix socket has no TLS.
 */
function tlsChoices({ host }: DatabaseSettings, environment: Environment): TlsChoice[] {
  if (host.startsWith('/')) return [false];
  const unchecked = { ...clientCertificate(environment), rejectUnauthorized: false };
  switch (environment['PGSSLMODE']) {
    case 'disable':
      return [false];
    case 'allow':
      return [false, unchecked];
    case 'require':
      return [unchecked];
    case 'verify-ca':
      return [
        {
          ...clientCertificate(environment),
          ...authority(environment),
          checkServerIdentity: () => undefined,
        },
      ];
    case 'verify-full':
      return [{ ...clientCertificate(environment), ...authority(environment) }];
    default:
      return [unchecked, false];
  }
}

function clientCertificate(environment: Environment): ConnectionOptions {
  const [certificate, key] = [environment['PGSSLCERT'], environment['PGSSLKEY']];
  if (!certificate || !key) return {};
  return { cert: readFileSync(certificate), key: readFileSync(key) };
}

function authority(environment: Environment): ConnectionOptions {
  const rootCertificate = environment['PGSSLROOTCERT'];
  return rootCertificate && rootCertificate !== 'system' ? { ca: readFileSync(rootCertificate) } : {};
}

const NO_PASSWORD = `the server asks for a password, and ${ENV.dbPassword} is not set`;

function connectError(cause: unknown, settings: DatabaseSettings, database: string): LifeboatError {
  const error = cause as { code?: string; message: string; errors?: { message: string }[] };
  const said = error.message || error.errors?.map((each) => each.message).join('; ') || String(cause);
  const withoutPassword = /client password must be a/.test(said);
  const where = `database ${JSON.stringify(database)} on ${settings.host}:${settings.port} as ${JSON.stringify(settings.user)}`;
  return new LifeboatError(
    'DB_CONNECT',
    `Cannot connect to ${where}: ${withoutPassword ? NO_PASSWORD : said}`,
    {
      ...(withoutPassword
        ? { hint: `Set ${ENV.dbPassword}, in the environment or in .env, then run the command again.` }
        : hintFor(error.code, database)),
      cause,
    },
  );
}

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
function hintFor(code: string | undefined, database: string): { hint?: string } {
  switch (code) {
    case '28P01':
    case '28000':
      return { hint: 'Check DB_USER and DB_PASSWORD, and the server’s pg_hba.conf.' };
    case '3D000':
      return { hint: `Check DB_NAME; databases there: psql -l. Missing: ${database}` };
    case '42501':
      return { hint: `Grant it: GRANT CONNECT ON DATABASE … TO …;` };
    case '57P03':
      return { hint: 'PostgreSQL is starting up or shutting down; run the command again in a minute.' };
    case '53300':
      return { hint: 'All connections are in use; free one, or raise max_connections.' };
    default:
      return {};
  }
}
