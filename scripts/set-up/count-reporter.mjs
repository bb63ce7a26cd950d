import { writeFileSync } from 'node:fs';

/**
 * A jest reporter that writes the number of tests to the file LIFEBOAT_TEST_COUNTS. Jest's own --json breaks off when
 * an error of a failed test refers to itself, and then there is no number at all.
 */
export default class CountReporter {
  onRunComplete(_contexts, results) {
    const file = process.env.LIFEBOAT_TEST_COUNTS;
    if (!file) return;
    // A suite that could not even be loaded counts as one failed test.
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    writeFileSync(file, JSON.stringify({ passed: results.numPassedTests, failed }));
  }
}
