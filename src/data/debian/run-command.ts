// Programs of the system, run beside the event loop.

import { spawn } from 'node:child_process'

/** A program that ended with an error, or that is not there. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  /** Whether the machine has no such program. */
  readonly missing: boolean

  constructor(message: string, { missing = false, cause }: { missing?: boolean; cause?: unknown } = {}) {
    super(message, { cause })
    this.missing = missing
  }
}

/** Runs a program in a folder and returns what it printed. Throws CommandError with its last words. */
export function runCommand(command: string, args: readonly string[], folder: string): Promise<string> {
  const child = spawn(command, args, {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
  })
  let output = ''
  let complaint = ''
  child.stdout.on('data', chunk => {
    output += chunk
  })
  child.stderr.on('data', chunk => {
    complaint = (complaint + chunk).slice(-4000)
  })
  return new Promise((resolve, reject) => {
    child.on('error', cause => {
      const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
      reject(new CommandError(`${command}: ${cause.message}`, { missing, cause }))
    })
    child.on('close', (code, signal) => {
      if (code === 0) resolve(output)
      else
        reject(new CommandError(firstError(complaint) ?? `${command} ended by ${signal ?? `code ${code}`}`))
    })
  })
}

/** apt marks errors by `E: ` and puts what went wrong first. */
function firstError(complaint: string): string | undefined {
  const lines = complaint.split('\n').filter(line => line.trim() !== '')
  return lines.find(line => /^(E|Err|dpkg-deb: error):/.test(line))?.replace(/^E: /, '') ?? lines.at(-1)
}
