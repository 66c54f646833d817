// How to call Switchyard's command line, so that what is printed works when copied.

import { relative } from 'node:path'

/** `switchyard`, or what stands for it where it was started otherwise, as `node dist/cli/main.js`. */
export function commandLine(): string {
  const [, script = ''] = process.argv
  if (/[\\/]cli[\\/]main\.js$/.test(script)) return `node ${relative(process.cwd(), script)}`
  return /[\\/]\.bin[\\/]switchyard$/.test(script) ? 'npx switchyard' : 'switchyard'
}
