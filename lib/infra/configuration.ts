import { readFileSync } from 'node:fs';
import type { App } from 'aws-cdk-lib/core';
import { parseDeploymentConfig, type DeploymentConfig } from '../domain/deployment/config.ts';
import { LifeboatError } from '../domain/errors.ts';

const CONFIG_FILE = 'lifeboat.config.json';
const EXAMPLE_FILE = 'lifeboat.config.example.json';

/** Sections whose single settings `-c storage.prefix=nightly` may replace. */
const SECTIONS = ['storage', 'schedule', 'notifications', 'limits'];
const SINGLE_SETTINGS = ['name', 'hostRoleName'];

/**
 * The deployment's configuration: lifeboat.config.json, or the file that `-c config=FILE` names, with single settings
 * replaced by the CDK's context (`-c name=Rehearsal -c storage.drRegion=eu-west-1`).
 * @throws LifeboatError SETTINGS_INVALID naming every problem at once
 */
export function readConfiguration(app: App): DeploymentConfig {
  const context = app.node.getAllContext() as Readonly<Record<string, unknown>>;
  const given = context['config'];
  const file = typeof given === 'string' ? given : CONFIG_FILE;
  return parseDeploymentConfig(withOverrides(parseFile(file), context), file);
}

function parseFile(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw isMissing(cause) ? missingError(file, cause) : unreadableError(file, cause as Error);
  }
}

function missingError(file: string, cause: unknown): LifeboatError {
  return new LifeboatError('SETTINGS_INVALID', `There is no ${file}, which says what to deploy`, {
    cause,
    hint: `Run: cp ${EXAMPLE_FILE} ${file}, then put your instance and database in it.`,
  });
}

function unreadableError(file: string, cause: Error): LifeboatError {
  return new LifeboatError('SETTINGS_INVALID', `${file} cannot be read: ${cause.message}`, {
    cause,
    hint: `Correct ${file}; ${EXAMPLE_FILE} shows its form.`,
  });
}

function isMissing(error: unknown): boolean {
  return isRecord(error) && error['code'] === 'ENOENT';
}

function withOverrides(value: unknown, context: Readonly<Record<string, unknown>>): unknown {
  if (!isRecord(value)) return value;
  const result: Record<string, unknown> = { ...value };
  for (const [key, given] of Object.entries(context)) {
    const [section = '', setting, ...rest] = key.split('.');
    if (setting === undefined) {
      if (SINGLE_SETTINGS.includes(section)) result[section] = given;
    } else if (SECTIONS.includes(section)) {
      const settings = isRecord(result[section]) ? result[section] : {};
      result[section] = { ...settings, [[setting, ...rest].join('.')]: readValue(given) };
    }
  }
  return result;
}

/** On the command line every value is text; numbers and lists are written as in JSON. */
function readValue(given: unknown): unknown {
  if (typeof given !== 'string') return given;
  try {
    return JSON.parse(given);
  } catch {
    return given; // a name or a region, as it is
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
