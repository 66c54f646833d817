#!/bin/sh
# Runs every test and ends with one line of counts, whatever happened.
set -u
cd "$(dirname "$0")/.."
node scripts/build-native.mjs --emulation || { echo "0 passed, 1 failed"; exit 1; }
# Where nvcc is, the CUDA kernels must compile, also without a GPU and a libtorch that could launch them.
kernels=0
if cmake --build build/native --target help 2>/dev/null | grep -q switchyard_device; then
  echo "test: compiling the CUDA kernels"
  cmake --build build/native --target switchyard_device >build/cuda-kernels.log 2>&1 || kernels=1
fi
results=build/test-results.json
rm -f "$results"
npx --no-install vitest run --reporter=default --reporter=json --outputFile.json="$results" "$@"
status=$?
[ "$kernels" -eq 0 ] || { cat build/cuda-kernels.log; echo "test: the CUDA kernels do not compile"; status=1; }
node -e '
  const { numPassedTests: passed, numFailedTests: failed, numPendingTests: skipped } = JSON.parse(require("fs").readFileSync(process.argv[1]))
  console.log(`${passed} passed, ${failed + Number(process.argv[2])} failed${skipped ? `, ${skipped} skipped` : ""}`)
' "$results" "$kernels" || { echo "0 passed, 1 failed"; status=1; }
exit $status
