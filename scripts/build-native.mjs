#!/usr/bin/env node
// Builds native/ into build/native/switchyard.node with CMake, for the running Node and one libtorch:
// $LIBTORCH if set, else the system's, else that of a Python which can import torch.
//   --if-possible   (npm's install script) say what is missing and succeed instead of failing
//   --sanitize      into build/asan, with the address and undefined-behaviour sanitizers
//   --emulation     the CUDA kernels for the CPU too, which tests/cuda wants
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')

class Missing extends Error {}

function run(command, args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8' })
  if (error) throw new Missing(`${command} is not installed: apt-get install -y cmake ninja-build g++`)
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`)
  return stdout
}

/** Node's C headers lie beside the running node, or in /usr/include/node for Debian-style packages. */
function nodeHeaders() {
  const beside = resolve(dirname(process.execPath), '..', 'include', 'node')
  const found = [process.env.NODE_INCLUDE, beside, '/usr/include/node'].find(
    folder => folder && existsSync(join(folder, 'node_api.h')),
  )
  if (!found) {
    throw new Missing(`no node_api.h beside ${process.execPath}: install Node's headers or set NODE_INCLUDE`)
  }
  return found
}

function addonApi() {
  const places = [join(root, 'node_modules'), resolve(root, '..')].map(p => join(p, 'node-addon-api'))
  const found = places.find(folder => existsSync(join(folder, 'napi.h')))
  if (!found) throw new Missing('node-addon-api is not installed: run npm ci')
  return found
}

/** The libtorch to build against; empty for the system's. */
function libtorch() {
  const named = process.env.LIBTORCH
  if (named) {
    if (!existsSync(join(named, 'include', 'ATen'))) {
      throw new Error(`LIBTORCH=${named} holds no include/ATen: name the folder with include/ and lib/`)
    }
    return resolve(named)
  }
  if (existsSync('/usr/include/ATen/ATen.h')) return ''
  for (const python of [process.env.PYTHON, '/usr/bin/python3', 'python3'].filter(Boolean)) {
    const probe = 'import os, torch; print(os.path.dirname(torch.__file__))'
    const { status, stdout } = spawnSync(python, ['-c', probe], { encoding: 'utf8' })
    if (status === 0 && stdout) return stdout.trim()
  }
  throw new Missing(
    'libtorch not found: apt-get install -y --no-install-recommends libtorch-dev libgloo-dev libopenblas0-pthread, ' +
      'or set LIBTORCH to the folder of a libtorch',
  )
}

/** Whether a folder was configured for another checkout, which CMake refuses to go on with. */
function isFromElsewhere(folder) {
  const cache = join(root, folder, 'CMakeCache.txt')
  const home = `CMAKE_HOME_DIRECTORY:INTERNAL=${join(root, 'native')}\n`
  return existsSync(cache) && !readFileSync(cache, 'utf8').includes(home)
}

function build() {
  const torch = libtorch()
  const sanitize = process.argv.includes('--sanitize')
  const folder = sanitize ? 'build/asan' : 'build/native'
  const isThere = existsSync(join(root, folder, 'switchyard.node'))
  if (!isThere)
    console.log(
      `native: building against ${torch || "the system's libtorch"}, a minute and a half on two cores`,
    )
  run('cmake', [
    ...(isFromElsewhere(folder) ? ['--fresh'] : []),
    ...['-S', 'native', '-B', folder, '-G', 'Ninja', `-DSANITIZE=${sanitize ? 'ON' : 'OFF'}`],
    ...[`-DNODE_INCLUDE=${nodeHeaders()}`, `-DNODE_ADDON_API=${addonApi()}`, `-DLIBTORCH=${torch}`],
  ])
  const targets = process.argv.includes('--emulation') ? ['--target', 'all', 'switchyard_emulated'] : []
  const isNew = !run('cmake', ['--build', folder, ...targets]).includes('no work to do')
  console.log(`native: ${folder}/switchyard.node is ${isNew ? 'built' : 'up to date'}`)
}

try {
  build()
} catch (error) {
  const optional = process.argv.includes('--if-possible') && error instanceof Missing
  console.error(`native: ${error.message}`)
  if (optional)
    console.error('native: skipped; later run: node node_modules/switchyard/scripts/build-native.mjs')
  process.exit(optional ? 0 : 1)
}
