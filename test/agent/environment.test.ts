import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readEnvironment } from '../../scripts/agent/environment.ts';

const NOBODY = 65_534;

describe('A .env in the working directory', () => {
  let folder: string;
  let file: string;

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'lifeboat-env-'));
    chmodSync(folder, 0o755);
    file = path.join(folder, '.env');
  });

  afterEach(() => {
    chmodSync(folder, 0o755);
    rmSync(folder, { recursive: true, force: true });
  });

  /** Root may read everything, so the question is asked as somebody else. */
  const readAsUser = () => {
    if (process.geteuid?.() !== 0) return readEnvironment(file);
    process.seteuid?.(NOBODY);
    try {
      return readEnvironment(file);
    } finally {
      process.seteuid?.(0);
    }
  };

  it('keeps its first variable when an editor wrote a byte order mark before it', () => {
    writeFileSync(file, '\uFEFFLIFEBOAT_TEST_FIRST=one\nLIFEBOAT_TEST_SECOND=two\n');
    expect(readEnvironment(file)).toMatchObject({ LIFEBOAT_TEST_FIRST: 'one', LIFEBOAT_TEST_SECOND: 'two' });
  });

  it('is refused by name when this user may not read it, for its settings would be missing', () => {
    writeFileSync(file, 'LIFEBOAT_TEST_FIRST=one\n');
    chmodSync(file, 0o000);
    expect(readAsUser).toThrow(
      expect.objectContaining({
        code: 'SETTINGS_INVALID',
        message: expect.stringContaining(`Cannot read ${file}: EACCES`) as string,
        hint: expect.stringContaining('Let this user read it') as string,
      }),
    );
  });

  it('is refused when it is a link to itself', () => {
    symlinkSync('.env', file);
    expect(() => readEnvironment(file)).toThrow(/^Cannot read .*ELOOP/);
  });

  it('is not looked for in a folder that this user may not enter', () => {
    chmodSync(folder, 0o000);
    expect(readAsUser()).toEqual({ ...process.env });
  });

  it('may be missing, or be a folder', () => {
    expect(readEnvironment(file)).toEqual({ ...process.env });
    mkdirSync(file);
    expect(readEnvironment(file)).toEqual({ ...process.env });
  });
});
