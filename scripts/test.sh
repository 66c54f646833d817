#!/bin/sh
# Runs every test and ends with one line of counts, whatever happened.
set -u
cd "$(dirname "$0")/.."
results=build/test-results.json
rm -f "$results"
npx --no-install vitest run --reporter=default --reporter=json --outputFile.json="$results" "$@"
status=$?
node -e '
  const { numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped } = JSON.parse(require("fs").readFileSync(process.argv[1]))
  console.log(`${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`)
' "$results" || { echo "0 passed, 1 failed"; status=1; }
exit $status
