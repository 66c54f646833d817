#!/bin/sh
# Packs into .gpu/ what a machine with CUDA but without network lacks: Node with its headers, and node_modules. There,
# scripts/offline.sh unpacks, builds and runs. About 50 MB; git ignores it.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .gpu
node=$(node -p process.execPath)
headers=$(dirname "$(dirname "$node")")/include/node
[ -d "$headers" ] || headers=/usr/include/node

[ -s .gpu/node.xz ] || xz -T0 -6 -c "$node" >.gpu/node.xz
[ -s .gpu/headers.tar.xz ] || tar cJf .gpu/headers.tar.xz -C "$(dirname "$headers")" node

stamp=$(sha256sum package-lock.json | cut -c1-16)
if [ ! -s ".gpu/modules-$stamp.tar.xz" ]; then
  rm -f .gpu/modules-*.tar.xz
  # What only checks the source stays here, and so do libraries for other systems.
  tar cf - --exclude='node_modules/@biomejs' --exclude='node_modules/dependency-cruiser' \
    --exclude='*musl*' --exclude='*darwin*' --exclude='*win32*' --exclude='*.map' node_modules |
    xz -T0 -6 >".gpu/modules-$stamp.tar.xz"
fi
du -sh .gpu
