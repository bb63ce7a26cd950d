import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { DOCUMENT_STEP } from '../../../lib/domain/names.ts';
import { ENCODED_REQUEST_PATTERN } from '../../../lib/domain/run/request.ts';
import { findAgentRefusal, parseDocument } from '../../../scripts/local-aws/ssm/document.ts';
import { fillScript, runSeconds, stepTimeout } from '../../../lib/infra/operations/run-documents.ts';
import { resource, text } from './resources.ts';
import { configuration, standInAssets, synthesize } from './stage.ts';

interface Step {
  readonly action: string;
  readonly name: string;
  readonly inputs: {
    readonly timeoutSeconds?: string;
    readonly runCommand?: unknown[];
    readonly sourceInfo?: unknown;
    readonly destinationPath?: string;
    readonly sourceType?: string;
    readonly finallyStep?: unknown;
  };
}

interface Content {
  readonly schemaVersion: string;
  readonly parameters: Record<string, Record<string, string>>;
  readonly mainSteps: [Step, Step, Step, Step];
}

const template = synthesize(configuration());
const contentOf = (id: string): Content =>
  resource(template, 'AWS::SSM::Document', id).properties['Content'] as Content;
const backup = contentOf('DocumentsBackup');
const restore = contentOf('DocumentsRestore');
const scriptOf = ({ mainSteps }: Content): string =>
  (mainSteps[3].inputs.runCommand ?? []).map(text).join('\n');

describe.each([
  ['backup', backup],
  ['restore', restore],
])('the %s document', (kind, content) => {
  test('is a command of version 2.2 without a name, which a change gives a new version', () => {
    const { properties } = resource(
      template,
      'AWS::SSM::Document',
      `Documents${kind === 'backup' ? 'B' : 'R'}`,
    );
    expect(properties).toMatchObject({ DocumentType: 'Command', UpdateMethod: 'NewVersion' });
    expect(properties).not.toHaveProperty('Name');
    expect(content.schemaVersion).toBe('2.2');
  });

  test('takes one parameter, with the anchored pattern of the domain and without SSM’s own substitution by variable', () => {
    expect(Object.keys(content.parameters)).toEqual(['Request']);
    expect(content.parameters['Request']).toMatchObject({
      type: 'String',
      allowedPattern: ENCODED_REQUEST_PATTERN,
    });
    expect(ENCODED_REQUEST_PATTERN).toMatch(/^\^.*\$$/);
    expect(content.parameters['Request']).not.toHaveProperty('default');
  });

  test('has a pattern that the SSM agent can compile, or it would run nothing at all', () => {
    const document = parseDocument({ ...content, mainSteps: [{ ...content.mainSteps[3], inputs: {} }] });
    expect(findAgentRefusal(document, { Request: ['A-Za_z'.repeat(1000)] })).toBeUndefined();
    expect(findAgentRefusal(document, { Request: ['$(id)'] })).toMatch(/does not match/);
  });

  test('looks for the agent, fetches both architectures’ tarballs from S3 by https and then runs the script', () => {
    const [find, x64, arm64, run] = content.mainSteps;
    expect(find).toMatchObject({ action: 'aws:runShellScript', name: 'findAgent' });
    expect([x64, arm64].map(({ action }) => action)).toEqual(['aws:downloadContent', 'aws:downloadContent']);
    for (const { inputs } of [x64, arm64]) {
      expect(inputs.sourceType).toBe('S3');
      expect(JSON.parse(text(inputs.sourceInfo))).toEqual({
        path: expect.stringMatching(
          /^https:\/\/s3\.eu-central-1\.\$\{AWS::URLSuffix\}\/cdk-[\w-]+\/[0-9a-f]{64}\.gz$/,
        ),
      });
      expect(inputs.destinationPath).not.toContain('/');
    }
    expect(run).toMatchObject({ action: 'aws:runShellScript', name: DOCUMENT_STEP });
  });

  test('goes on after a failed download, because the agent may be installed already', () => {
    expect(JSON.stringify(content)).not.toContain('onFailure');
  });

  test('runs the agent although the first step skips the rest, because no other step is the last', () => {
    expect(content.mainSteps.map(({ inputs }) => inputs.finallyStep)).toEqual([
      undefined,
      undefined,
      undefined,
      true,
    ]);
  });

  test('gives its first step a time-out that the SSM agent takes, and the downloads none, which they do not know', () => {
    expect(content.mainSteps.map(({ inputs }) => inputs.timeoutSeconds)).toEqual([
      '60',
      undefined,
      undefined,
      '21660',
    ]);
  });

  test('holds the hashes of the tarballs that are delivered', () => {
    const script = scriptOf(content);
    const { agentX64, agentArm64, version } = standInAssets();
    for (const [name, file] of [
      ['x64', agentX64],
      ['arm64', agentArm64],
    ] as const) {
      const sha256 = createHash('sha256').update(readFileSync(file)).digest('hex');
      expect(script).toContain(`sha256_${name}='${sha256}'`);
    }
    expect(script).toContain(`version='${version}'`);
  });

  test('asks the agent for its own kind of run alone', () => {
    expect(scriptOf(content)).toContain(`only='${kind}'`);
  });

  test('lets SSM replace the request in one place, and nothing else', () => {
    const script = scriptOf(content);
    expect(script.match(/\{\{.*?\}\}/g)).toEqual(['{{ Request }}']);
    expect(script).toContain("request='{{ Request }}'");
    expect(script).not.toMatch(/@@\w+@@/);
  });

  test.each([0, 3])('has in step %d a script that bash can read, and says so in its first line', (step) => {
    const script = (content.mainSteps[step]!.inputs.runCommand ?? []).map(text).join('\n');
    expect(script.split('\n')[0]).toBe('#!/bin/bash');
    expect(script).not.toMatch(/@@\w+@@/);
    expect(() => execFileSync('bash', ['-n'], { input: script })).not.toThrow();
  });

  test('is smaller than the 64 KB that SSM takes', () => {
    expect(JSON.stringify(content).length).toBeLessThan(64 * 1024);
  });
});

describe('times', () => {
  test('the agent ends before SSM ends it, and has time to tell', () => {
    const script = scriptOf(backup);
    const seconds = Number(/^run_seconds='(\d+)'$/m.exec(script)?.[1]);
    const grace = Number(/^kill_after_seconds='(\d+)'$/m.exec(script)?.[1]);
    const step = Number(backup.mainSteps[3].inputs.timeoutSeconds);
    expect(seconds).toBe(360 * 60);
    expect(seconds + grace).toBeLessThan(step);
  });

  test.each([1, 5, 360, 2879])('%d minutes give a time-out that the SSM agent takes', (minutes) => {
    expect(runSeconds(minutes)).toBe(minutes * 60);
    expect(stepTimeout(minutes)).toBeGreaterThanOrEqual(5);
    expect(stepTimeout(minutes)).toBeLessThanOrEqual(172_800);
  });

  test.each([-1, 2880, 0.123, Number.NaN])(
    '%d minutes are refused, for SSM would silently make an hour of it',
    (minutes) => {
      expect(() => stepTimeout(minutes)).toThrow(/which it replaces by an hour/);
    },
  );
});

describe('filling the script', () => {
  test.each(["a'b", 'a b', '$(id)', '', 'a\nb', '{{ x }}'])(
    'refuses %j, which is no harmless value',
    (value) => {
      expect(() => fillScript("x='@@X@@'", { X: value })).toThrow(/cannot take/);
    },
  );

  test('refuses a name that has no value', () => {
    expect(() => fillScript('@@GONE@@', {})).toThrow(/for GONE/);
  });
});
