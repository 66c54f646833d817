// The engine of grammars: xgrammar (arXiv:2411.15100), compiled to WebAssembly.

import { readFileSync } from 'node:fs'
import { createRequire, Module } from 'node:module'

export type XGrammar = typeof import('@mlc-ai/web-xgrammar')

/**
 * An instance of its own, with its own memory. The package says that its file is an ES module, but it is a script for
 * CommonJS, so that `import` fails; here it is read as what it is.
 */
export function loadXGrammar(): XGrammar {
  const file = createRequire(import.meta.url).resolve('@mlc-ai/web-xgrammar')
  const script = new Module(file) as Module & { _compile(code: string, file: string): void }
  script._compile(readFileSync(file, 'utf8'), file)
  return script.exports as XGrammar
}
