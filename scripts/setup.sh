#!/bin/sh
# make setup: everything Switchyard needs on Debian 12, skipping what is there. Node 20 or newer is the one thing it
# does not install. LIBTORCH=/path uses another libtorch than Debian's.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "setup: $*"; }
fail() {
  printf '%s\n' "setup: $*" >&2
  exit 1
}

check_node() {
  command -v node >/dev/null 2>&1 || fail "Node 20 or newer is needed and no node was found; $node_help"
  major=$(node -p 'process.versions.node.split(".")[0]')
  [ "$major" -ge 20 ] || fail "Node 20 or newer is needed, this is $(node --version) (Debian 12's own is 18); $node_help"
}
node_help="install it from https://nodejs.org or https://github.com/nodesource/distributions"

missing_packages() {
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || printf '%s ' "$package"
  done
}

install_packages() {
  command -v apt-get >/dev/null 2>&1 ||
    fail "this is not Debian or Ubuntu: install cmake, ninja and g++, set LIBTORCH to a libtorch, then run: npm ci && npm run build:native && npm run build"
  packages="cmake ninja-build g++"
  [ -n "${LIBTORCH:-}" ] || packages="$packages libtorch-dev libgloo-dev libopenblas0-pthread"
  # shellcheck disable=SC2086
  missing=$(missing_packages $packages)
  if [ -z "$missing" ]; then
    say "Debian packages are there"
    return
  fi
  as_root=""
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || fail "run as root or install sudo, to install: $missing"
    as_root="sudo"
  fi
  say "installing ${missing}(about 130 MB)"
  $as_root apt-get update -qq || fail "apt-get update failed: check the network, then run make setup again"
  # shellcheck disable=SC2086
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    fail "apt-get install failed; run it by hand to see why: apt-get install --no-install-recommends $missing"
}

# Without OpenBLAS, libtorch falls back to a BLAS that is 50 times slower.
check_blas() {
  [ -z "${LIBTORCH:-}" ] || return 0
  blas=$(readlink -f "/usr/lib/$(uname -m)-linux-gnu/libblas.so.3" 2>/dev/null || true)
  case "$blas" in
  *openblas*) ;;
  *) say "warning: libblas is not OpenBLAS (${blas:-none}); run: update-alternatives --config libblas.so.3-$(uname -m)-linux-gnu" ;;
  esac
}

# A copy of the lock file says what was installed.
install_modules() {
  if cmp -s package-lock.json node_modules/.installed-lock.json; then
    say "npm packages are there"
    return
  fi
  say "installing npm packages"
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error ||
    fail "npm ci failed: check the network, then run make setup again"
  cp package-lock.json node_modules/.installed-lock.json
}

check_node
install_packages
check_blas
install_modules
node scripts/build-native.mjs
npm run --silent build
say "ready"
