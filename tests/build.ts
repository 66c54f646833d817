// Vitest's global set-up: tests of workers and of the command line run what users run, the compiled package.
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export function setup(): void {
  const root = fileURLToPath(new URL('..', import.meta.url))
  if (!existsSync(new URL('../build/native/switchyard.node', import.meta.url))) {
    execFileSync(process.execPath, ['scripts/build-native.mjs'], { cwd: root, stdio: 'inherit' })
  }
  // Types are checked by `make lint`; here only the output counts.
  execFileSync(
    process.execPath,
    ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json', '--noCheck'],
    {
      cwd: root,
      stdio: 'inherit',
    },
  )
}
