// The generated files of src/torch/generated, from operators.txt and the schemas of the libtorch that is found.

import { readFileSync } from 'node:fs'
import { Operator } from '../../src/torch/operator.ts'
import { emitFunctions, emitMethods } from './emit.ts'
import { parseList } from './parse.ts'

/** File names and contents. */
export function generate(): Record<string, string> {
  const list = readFileSync(new URL('operators.txt', import.meta.url), 'utf8')
  const entries = parseList(list, (operator, overload) => new Operator(operator, overload).schema.text)
  return { 'methods.ts': emitMethods(entries), 'functions.ts': emitFunctions(entries) }
}
