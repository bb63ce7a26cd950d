import type { DatabaseSettings } from '../settings.ts';

/** Every cluster has it, and every role may connect to it unless told otherwise; nobody drops, renames or copies it. */
const USUAL_DATABASE = 'postgres';

/**
 * There is none of that name, this role may not connect to it, pg_hba.conf has no line for it, it takes no connections:
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
const REFUSES_DATABASE: ReadonlySet<unknown> = new Set(['3D000', '42501', '28000', '55000']);

/**
 * For what concerns the whole cluster: a session in DB_NAME would keep that from being renamed or used as a template, and
 * need it to be there. Only where `postgres` is refused, that is where the session is.
 * @param open one try. @throws what the last try threw
 */
export async function inAnyDatabase<Result>(
  { name }: DatabaseSettings,
  open: (database: string) => Promise<Result>,
): Promise<Result> {
  try {
    return await open(USUAL_DATABASE);
  } catch (error) {
    const { cause } = error as { cause?: { code?: unknown } };
    if (name === undefined || name === USUAL_DATABASE || !REFUSES_DATABASE.has(cause?.code)) throw error;
    return await open(name);
  }
}
