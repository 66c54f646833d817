#!/bin/sh
# Measures against peers: scripts/bench.sh [--keep] [NAME...]. Installs Debian's python3-torch as the peer where it can,
# and fetches llama.cpp; benchmarks do without either if need be. Results go to build/benchmarks; --keep records them in
# benchmarks/results.
set -eu
cd "$(dirname "$0")/.."

if [ "${1:-}" = --keep ]; then
  shift
  export BENCH_KEEP=1
fi

has_torch() { "$1" -c 'import torch' >/dev/null 2>&1; }

if ! has_torch "${PYTHON:-/usr/bin/python3}" && command -v apt-get >/dev/null 2>&1; then
  as_root=""
  [ "$(id -u)" -eq 0 ] || as_root="sudo"
  echo "bench: installing Debian's python3-torch, the peer"
  $as_root apt-get install -y -qq --no-install-recommends python3-torch >/dev/null || echo "bench: could not; going on without it"
fi

# The router shoot-out's own text; recipes/router-shootout.yaml says what it is.
prepare_shootout() {
  [ -e data/shootout/corpus.json ] && return
  echo "bench: preparing data/shootout, the text of router-shootout"
  npm run --silent build
  node dist/cli/main.js data prepare --domains en,code,fr --size 8MB --validation 0.05 --tokenizer bpe:2048 --out data/shootout
}

# llama.cpp, the peer of decode and batch; without it the benchmark goes on alone.
fetch_llama() {
  [ -e tests/interop/node_modules/node-llama-cpp ] && return
  echo "bench: fetching llama.cpp, the peer (85 MB)"
  (cd tests/interop && npm ci --omit=optional --no-audit --no-fund --loglevel=error) ||
    echo "bench: could not; going on without it"
}

for name in ${*:-start-up op-call train-step step-parts generate decode decode-parts batch serve offload moe-layer dequant load}; do
  case "$name" in decode | batch) fetch_llama ;; esac
  [ "$name" = router-shootout ] && prepare_shootout
  node --import tsx "benchmarks/$name.ts"
done
