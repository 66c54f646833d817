// The built command line as users run it.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll } from 'vitest'

export const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))

/** What the command line keeps for its user, of each file of tests. */
export const cacheFolder = temporaryFolder()

export interface CliResult {
  code: number | null
  stdout: string
  stderr: string
}

/** Starts `switchyard ...args`. One thread and one library, which is always there, so that results repeat. */
export function startCli(
  args: readonly string[],
  cwd?: string,
): { child: ChildProcess; ended: Promise<CliResult> } {
  const env = {
    ...process.env,
    XDG_CACHE_HOME: cacheFolder,
    SWITCHYARD_THREADS: '1',
    SWITCHYARD_GEMM: 'libtorch',
    NO_COLOR: '1',
  }
  const child = spawn(process.execPath, [main, ...args], { env, ...(cwd && { cwd }) })
  const ended = new Promise<CliResult>((resolve, reject) => {
    let [stdout, stderr] = ['', '']
    child.stdout?.on('data', chunk => (stdout += chunk))
    child.stderr?.on('data', chunk => (stderr += chunk))
    child.once('error', reject).once('close', code => resolve({ code, stdout, stderr }))
  })
  return { child, ended }
}

export function runCli(args: readonly string[], cwd?: string): Promise<CliResult> {
  return startCli(args, cwd).ended
}

/** A folder that goes when the file's tests are done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-test-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}
