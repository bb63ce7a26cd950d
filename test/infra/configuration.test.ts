import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App } from 'aws-cdk-lib/core';
import type { LifeboatError } from '../../lib/domain/errors.ts';
import { readConfiguration } from '../../lib/infra/configuration.ts';

const series = [{ host: { instanceId: 'i-0123456789abcdef0' }, database: 'hostmaster' }];

describe('The configuration of a deployment', () => {
  let folder: string;
  let file: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'lifeboat-config-'));
    file = join(folder, 'mine.json');
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  const write = (value: unknown): void =>
    writeFileSync(file, typeof value === 'string' ? value : JSON.stringify(value));
  const read = (context: Record<string, unknown> = {}) =>
    readConfiguration(new App({ outdir: join(folder, 'out'), context: { config: file, ...context } }));
  const refusal = (context: Record<string, unknown> = {}): LifeboatError => {
    try {
      read(context);
    } catch (error) {
      return error as LifeboatError;
    }
    throw new Error('It was not refused');
  };

  it('is read from the file that -c config= names', () => {
    write({ name: 'Rehearsal', series });
    expect(read()).toMatchObject({ name: 'Rehearsal', storage: { prefix: 'database' } });
  });

  it('says how to begin when there is no such file', () => {
    const { code, message, hint } = refusal();
    expect(code).toBe('SETTINGS_INVALID');
    expect(message).toBe(`There is no ${file}, which says what to deploy`);
    expect(hint).toContain(`Run: cp lifeboat.config.example.json ${file}`);
  });

  it('says where a file is no JSON, or cannot be read', () => {
    write('{ "series": [ }');
    expect(refusal().message).toContain(`${file} cannot be read: `);
    rmSync(file);
    mkdirSync(file);
    expect(refusal().message).toContain('EISDIR');
  });

  it('tells every problem of the file at once', () => {
    write({ storage: { transitionDays: 1 }, series: [{ ...series[0], port: 0 }], colour: 'red' });
    const { message, hint } = refusal();
    for (const line of ['- storage.transitionDays: ', '- series.0.port: ', 'Unrecognized key: "colour"'])
      expect(message).toContain(line);
    expect(hint).toContain('docs/deployment.md');
  });

  it('refuses what is no object', () => {
    for (const value of ['[]', '"x"', 'null']) {
      write(value);
      expect(refusal().message).toContain(`${file} is wrong:\n- the file: `);
    }
  });

  it('takes single settings from the command line’s context', () => {
    write({ storage: { prefix: 'a', noncurrentDays: 3 }, series });
    const context = {
      name: 'Other',
      hostRoleName: 'db-host',
      'storage.prefix': 'b',
      'storage.lockDays': '7',
      'schedule.at': '03:30',
      'notifications.emails': '["dba@example.com"]',
      '@aws-cdk/core:some-flag': true,
    };
    expect(read(context)).toMatchObject({
      name: 'Other',
      hostRoleName: 'db-host',
      storage: { prefix: 'b', noncurrentDays: 3, lockDays: 7 },
      schedule: { at: '03:30' },
      notifications: { emails: ['dba@example.com'] },
    });
  });

  it('refuses a setting of the context that does not exist', () => {
    write({ series });
    expect(refusal({ 'storage.prefx': 'b' }).message).toContain('Unrecognized key: "prefx"');
    expect(refusal({ 'storage.a.b': 'c' }).message).toContain('Unrecognized key: "a.b"');
  });
});
