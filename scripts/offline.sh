#!/bin/sh
# On a machine with CUDA and a Python torch but without network, beside what scripts/pack-offline.sh packed:
#   scripts/offline.sh test              kernels, composed operators, streams and graphs on the device
#   scripts/offline.sh sanitize          the kernels' tests under compute-sanitizer
#   scripts/offline.sh bench NAME...     benchmarks/cuda-NAME.ts
# Builds the addon first, against $LIBTORCH or the torch of python3. With $OUT, results are copied there.
set -eu
cd "$(dirname "$0")/.."
tools=${SWITCHYARD_TOOLS:-/opt/switchyard}
if [ ! -x "$tools/bin/node" ]; then
  mkdir -p "$tools/bin" "$tools/include"
  xz -dc .gpu/node.xz >"$tools/bin/node"
  chmod +x "$tools/bin/node"
  tar xJf .gpu/headers.tar.xz -C "$tools/include"
fi
[ -d node_modules ] || tar xJf .gpu/modules-*.tar.xz
export PATH="$tools/bin:$PATH" NODE_INCLUDE="$tools/include/node"
LIBTORCH=${LIBTORCH:-$(python3 -c 'import torch, os; print(os.path.dirname(torch.__file__))')}
export LIBTORCH
node scripts/build-native.mjs

what=$1
shift
case $what in
test)
  SWITCHYARD_TEST_DEVICE=cuda node node_modules/vitest/vitest.mjs run tests/cuda tests/composed.test.ts \
    src/torch/cuda src/train/graphed-step.test.ts src/models/generation/static-session.test.ts "$@"
  ;;
sanitize)
  for tool in memcheck racecheck; do
    SWITCHYARD_TEST_DEVICE=cuda compute-sanitizer --target-processes all --tool "$tool" --error-exitcode 99 \
      node node_modules/vitest/vitest.mjs run --pool=forks --testTimeout=600000 tests/cuda "$@"
  done
  ;;
bench)
  for name in "$@"; do node --import tsx "benchmarks/cuda-$name.ts"; done
  ;;
*)
  echo "offline: '$what' is none of test, sanitize, bench" >&2
  exit 2
  ;;
esac
[ -z "${OUT:-}" ] || [ ! -d build/benchmarks ] || cp -r build/benchmarks/. "$OUT"/
