import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CfnDocument } from 'aws-cdk-lib/aws-ssm';
import { Stack, Token } from 'aws-cdk-lib/core';
import { Construct } from 'constructs';
import type { DeploymentConfig } from '../../domain/deployment/config.ts';
import { LifeboatError } from '../../domain/errors.ts';
import { DOCUMENT_PARAMETER, DOCUMENT_STEP } from '../../domain/names.ts';
import { FIND_AGENT_SECONDS } from '../../domain/run/document-times.ts';
import { ENCODED_REQUEST_PATTERN } from '../../domain/run/request.ts';
import type { AgentDelivery, DeliveredAgent } from './agent-delivery.ts';

/** What a document lets the agent do; the agent refuses a request of the other kind. */
type DocumentKind = 'backup' | 'restore';

/** Between the agent's TERM and its KILL. */
const KILL_AFTER_SECONDS = 30;
/** Between the end of the run's time and SSM's SIGKILL to everything: room for the above and for the last words. */
const MARGIN_SECONDS = 60;

const SCRIPTS = join(import.meta.dirname, '..', 'documents');

export interface RunDocumentsProps {
  readonly config: DeploymentConfig;
  readonly delivery: AgentDelivery;
}

/**
 * Two Command documents, so that the right to start backups is not the right to start restores. A change of a document
 * is a new version of it: a replaced one would have another name than running commands know.
 */
export class RunDocuments extends Construct {
  readonly backup: CfnDocument;
  readonly restore: CfnDocument;

  constructor(scope: Construct, id: string, { config, delivery }: RunDocumentsProps) {
    super(scope, id);
    const document = (name: string, kind: DocumentKind): CfnDocument =>
      new CfnDocument(this, name, {
        documentType: 'Command',
        documentFormat: 'JSON',
        updateMethod: 'NewVersion',
        content: documentContent(kind, config.limits.runMinutes, delivery, Stack.of(this).region),
      });
    this.backup = document('Backup', 'backup');
    this.restore = document('Restore', 'restore');
  }

  /** @param document one of the two */
  arnOf(document: CfnDocument): string {
    return Stack.of(this).formatArn({ service: 'ssm', resource: 'document', resourceName: document.ref });
  }
}

function documentContent(
  kind: DocumentKind,
  runMinutes: number,
  delivery: AgentDelivery,
  region: string,
): object {
  return {
    schemaVersion: '2.2',
    description: `Lifeboat: runs the agent of this host for one ${kind === 'backup' ? 'backup or report' : 'restore'}.`,
    parameters: {
      [DOCUMENT_PARAMETER]: {
        type: 'String',
        description: 'The run as base64url JSON; docs/formats.md explains it. Holds no secret.',
        allowedPattern: ENCODED_REQUEST_PATTERN,
      },
    },
    mainSteps: [
      {
        action: 'aws:runShellScript',
        name: 'findAgent',
        inputs: {
          timeoutSeconds: String(FIND_AGENT_SECONDS),
          runCommand: fill('find-agent.sh', deliveredValues(delivery)),
        },
      },
      download('downloadX64', delivery.x64, 'lifeboat-agent-x64.tar.gz'),
      download('downloadArm64', delivery.arm64, 'lifeboat-agent-arm64.tar.gz'),
      {
        action: 'aws:runShellScript',
        name: DOCUMENT_STEP,
        inputs: {
          timeoutSeconds: String(stepTimeout(runMinutes)),
          // Where the agent is installed, the first step ends the document; this one is done all the same.
          finallyStep: true,
          runCommand: fill('run-agent.sh', {
            ...deliveredValues(delivery),
            RUN_SECONDS: String(runSeconds(runMinutes)),
            KILL_AFTER_SECONDS: String(KILL_AFTER_SECONDS),
            ONLY: kind,
            PARAMETER: DOCUMENT_PARAMETER,
            REGION: region,
          }),
        },
      },
    ],
  };
}

/**
 * Both architectures, because no precondition of SSM knows one; and only where this version of the agent is not installed,
 * or every run would fetch 80 MB. Deliberately without `onFailure: exit`: a host that has the
 * agent already makes its local backup even while S3 is away, and the script gates itself on what was fetched.
 */
function download(name: string, agent: DeliveredAgent, file: string): object {
  return {
    action: 'aws:downloadContent',
    name,
    inputs: {
      sourceType: 'S3',
      sourceInfo: JSON.stringify({ path: agent.url }),
      // Relative: into the command's own folder, which is where the next step's script starts.
      destinationPath: file,
    },
  };
}

/**
 * The SSM agent silently replaces what lies outside of 5 to 172,800 seconds by one hour.
 * @throws LifeboatError SETTINGS_INVALID
 */
export function stepTimeout(runMinutes: number): number {
  const seconds = runMinutes * 60 + MARGIN_SECONDS;
  if (Number.isInteger(seconds) && seconds >= 5 && seconds <= 172_800) return seconds;
  throw new LifeboatError(
    'SETTINGS_INVALID',
    `limits.runMinutes: ${runMinutes} would give SSM a time-out of ${seconds} s, which it replaces by an hour`,
    { hint: 'Give 1 to 2879 whole minutes.' },
  );
}

/** The agent's own part of the step's time. */
export function runSeconds(runMinutes: number): number {
  return stepTimeout(runMinutes) - MARGIN_SECONDS;
}

function deliveredValues({ version, x64, arm64 }: AgentDelivery): Record<string, string> {
  return { VERSION: version, SHA256_X64: x64.sha256, SHA256_ARM64: arm64.sha256 };
}

/** A script of lib/infra/documents/, by its lines. */
function fill(script: string, values: Readonly<Record<string, string>>): string[] {
  return fillScript(readFileSync(join(SCRIPTS, script), 'utf8'), values).split('\n');
}

/**
 * Fills `@@NAME@@`. What is filled in stands in a shell's single quotes and goes to root: nothing but harmless characters.
 * @throws LifeboatError BUG for a value that is not harmless, and for a name without a value
 */
export function fillScript(script: string, values: Readonly<Record<string, string>>): string {
  return script.replaceAll(/@@([A-Z0-9_]+)@@/g, (_, name: string) => {
    const value = values[name];
    if (value !== undefined && (Token.isUnresolved(value) || /^[A-Za-z0-9.+-]+$/.test(value))) return value;
    throw new LifeboatError('BUG', `A document’s script cannot take ${JSON.stringify(value)} for ${name}`);
  });
}
