import { LifeboatError } from '../errors.ts';
import { ENV } from '../names.ts';

/**
 * The file that gives a scheduled run its settings: read by systemd (EnvironmentFile=, systemd.exec(5)) and, for cron,
 * by a shell. What both read alike is a value in double quotes with `"`, `\`, `` ` `` and `$` escaped.
 */

type Variables = Readonly<Record<string, string | undefined>>;

const OURS: ReadonlySet<string> = new Set(Object.values(ENV).filter((name) => name !== ENV.runId));
/** What the AWS SDK, libpq and TLS read by themselves. */
const THEIRS =
  /^(?:AWS_[A-Z0-9_]+|PG[A-Z]+|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|SSL_CERT_DIR|(?:HTTPS?|NO)_PROXY)$/;
/** They belong to the shell that runs the installation and mean nothing at two in the morning. */
const PASSING =
  /^AWS_(?:SESSION_TOKEN|SECURITY_TOKEN|CREDENTIAL_EXPIRATION|EXECUTION_ENV|LAMBDA_.*|CONTAINER_.*)$/;
const KEYS: ReadonlySet<string> = new Set(['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']);
const SECRET = /PASSWORD|SECRET|ACCESS_KEY|TOKEN|WEBHOOK|SMTP_URL|PROXY/;

export interface ChosenVariables {
  readonly variables: Readonly<Record<string, string>>;
  readonly warnings: readonly string[];
}

/** Of everything that is set here, what a scheduled run needs. */
export function chooseVariables(environment: Variables): ChosenVariables {
  const temporary = Boolean(environment['AWS_SESSION_TOKEN']);
  const chosen: Record<string, string> = {};
  for (const name of Object.keys(environment).sort()) {
    const value = environment[name];
    const wanted = (OURS.has(name) || THEIRS.test(name)) && !PASSING.test(name);
    if (value && wanted && !(temporary && KEYS.has(name))) chosen[name] = value;
  }
  const warning =
    'The AWS keys set here are temporary and were left out: they would expire. Give the host an instance role, or its user a profile';
  return { variables: chosen, warnings: temporary ? [warning] : [] };
}

/** @throws LifeboatError SETTINGS_INVALID when systemd would drop a value, naming the variable and not the value */
export function renderEnvironmentFile(app: string, variables: Readonly<Record<string, string>>): string {
  return [
    `# Settings of the scheduled backup of ${app}; read by systemd or cron. Holds secrets: keep it mode 0600.`,
    ...Object.entries(variables).map(([name, value]) => `${name}=${quoteValue(name, value)}`),
    '',
  ].join('\n');
}

/** The same file for a screen: secrets are named, not shown. */
export function renderEnvironmentForPeople(app: string, variables: Readonly<Record<string, string>>): string {
  const shown = Object.entries(variables).map(([name, value]) => [
    name,
    SECRET.test(name) ? '(not shown)' : value,
  ]);
  return renderEnvironmentFile(app, Object.fromEntries(shown) as Record<string, string>);
}

/** Reads back what was written, and what somebody changed by hand since, the way systemd and a shell read it. */
export function parseEnvironmentFile(text: string): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const { groups } of text.matchAll(ASSIGNMENT)) {
    const { name, double, single, bare } = groups as Record<string, string | undefined>;
    if (name !== undefined)
      variables[name] = double?.replace(/\\(["\\`$])/g, '$1') ?? single ?? bare?.trim() ?? '';
  }
  return variables;
}

const ASSIGNMENT =
  /^[ \t]*(?:export[ \t]+)?(?<name>[A-Za-z_]\w*)=(?:"(?<double>(?:[^"\\]|\\[^])*)"|'(?<single>[^']*)'|(?<bare>[^\n]*))/gm;

function quoteValue(name: string, value: string): string {
  if (/[^\P{Cc}\t\n]/u.test(value)) {
    throw new LifeboatError(
      'SETTINGS_INVALID',
      `${name} holds a control character, which systemd would refuse`,
    );
  }
  return `"${value.replace(/["\\`$]/g, '\\$&')}"`;
}
