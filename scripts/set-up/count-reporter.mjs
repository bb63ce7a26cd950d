import { writeFileSync } from 'node:fs';

/**
 * A jest reporter that writes the number of tests, and the files with failures, to the file LIFEBOAT_TEST_COUNTS. Jest's
 * own --json breaks off when an error of a failed test refers to itself, and then there is no number at all.
 */
export default class CountReporter {
  onRunComplete(_contexts, results) {
    const file = process.env.LIFEBOAT_TEST_COUNTS;
    if (!file) return;
    // A suite that could not even be loaded counts as one failed test.
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const failedFiles = results.testResults
      .filter((suite) => suite.numFailingTests > 0 || suite.testExecError)
      .map((suite) => ({ path: suite.testFilePath, passed: suite.numPassingTests }));
    writeFileSync(file, JSON.stringify({ passed: results.numPassedTests, failed, failedFiles }));
  }
}
