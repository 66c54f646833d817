import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'tests/**/*.test.ts'],
    globalSetup: 'tests/build.ts',
    // One process per file: libtorch's thread counts and random generators belong to the process.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    env: { SWITCHYARD_THREADS: '1' },
    execArgv: ['--expose-gc'],
  },
})
