#!/bin/sh
# Builds native/ with the address and undefined-behaviour sanitizers and runs every test that computes with it.
set -eu
cd "$(dirname "$0")/.."
node scripts/build-native.mjs --sanitize --emulation

# Node itself is not sanitized, so the runtime must come first. Leaks are not looked for: Node and libtorch keep what
# they made until the end. A request for too much memory must fail as it does otherwise.
LD_PRELOAD=$(g++ -print-file-name=libasan.so)
ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
UBSAN_OPTIONS=print_stacktrace=1
SWITCHYARD_ADDON=$PWD/build/asan/switchyard.node
export LD_PRELOAD ASAN_OPTIONS UBSAN_OPTIONS SWITCHYARD_ADDON
exec npx --no-install vitest run --testTimeout=600000 src/torch src/formats src/nn src/moe src/models src/train tests/cuda tests/workers.test.ts "$@"
