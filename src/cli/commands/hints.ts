// `switchyard hints`: what tokens made routers choose, as a table to read experts ahead by.

import { existsSync } from 'node:fs'
import { Command } from 'commander'
import { ConfigError } from '../../errors.ts'
import { count, green } from '../terminal.ts'
import { numberOf } from '../values.ts'

interface Flags {
  out: string
  mass: number
  json?: boolean
  quiet?: boolean
}

const help = `
Of each token and layer, a hint is the smallest set of experts that covers most
of what the token chose in the recording, but no more than it chooses at once.

Examples:
  switchyard routing trace model.gguf --text book.txt --out book.trace
  switchyard hints book.trace --out model.hints
  switchyard generate model.gguf --prompt "Once" --memory 2GiB \\
    --prefetch hints:model.hints`

export function hintsCommand(): Command {
  return new Command('hints')
    .description('make a table of the experts to expect after each token')
    .argument('<trace>', "made by 'switchyard routing trace'")
    .requiredOption('--out <file>', 'the table')
    .option(
      '--mass <share>',
      "share of a token's choices that its hint covers",
      numberOf('--mass', { above: 0, most: 1 }),
      0.9,
    )
    .option('--json', 'print JSON')
    .option('--quiet', 'print nothing but errors')
    .addHelpText('after', help)
    .action(makeHints)
}

async function makeHints(file: string, { out, mass, json, quiet }: Flags): Promise<void> {
  const { areHints, hintsOf, readChoices, writeHints } = await import('../../engine/index.ts')
  if (existsSync(out) && !areHints(out))
    throw new ConfigError(`${out} is there, and holds no hints: remove it, or name another file`, {
      path: '--out',
    })
  const { header, choices } = readChoices(file)
  if (header.tokens === 0) throw new ConfigError('holds no tokens: record some', { path: file })
  const table = hintsOf(choices, header.model, mass)
  writeHints(out, table)
  const sizes = [...table.hints.values()].flatMap(layers => layers.map(({ length }) => length))
  const about = {
    file: out,
    ...{ model: table.model, layers: table.layers, experts: table.experts, tokens: table.hints.size },
    expertsPerHint: sizes.reduce((sum, size) => sum + size, 0) / sizes.length,
  }
  if (json) process.stdout.write(`${JSON.stringify(about, null, 2)}\n`)
  else if (!quiet)
    process.stdout.write(
      `${green('ok')} ${out}: hints of ${count(about.tokens)} tokens for ${table.layers} layers, ${about.expertsPerHint.toFixed(1)} experts each\n`,
    )
}
