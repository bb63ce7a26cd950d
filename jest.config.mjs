export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  transform: {
    '\\.ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2024' }, module: { type: 'commonjs' } },
    ],
  },
  // What takes a second here takes twenty on a busy machine; none waits for its time-out but one that hangs.
  testTimeout: 300_000,
  maxWorkers: 2,
  testSequencer: '<rootDir>/scripts/set-up/test-sequencer.mjs',
  reporters: ['default', '<rootDir>/scripts/set-up/count-reporter.mjs'],
};
