// Fewer or other experts than a model was trained with: the options that generate, chat, serve and eval share.

import type { Command } from 'commander'
import type { ServedHints } from '../engine/index.ts'
import { ConfigError } from '../errors.ts'
import type { FewerExperts } from '../moe/index.ts'
import type { Module } from '../nn/index.ts'
import { yellow } from './terminal.ts'
import { numberOf, wholeNumberOf } from './values.ts'

/** Which experts serve, where not those that routers choose. */
export interface ServingFlags extends FewerExperts {
  hints?: string | undefined
}

/** Adds --experts-per-token, --skip-below and --hints. */
export function withFewerExpertsOptions(command: Command): Command {
  return command
    .option(
      '--experts-per-token <n>',
      'run so many of the experts that a token chooses: another text, sooner',
      wholeNumberOf('--experts-per-token', 1),
    )
    .option(
      '--skip-below <share>',
      "leave out experts that count less than this share of the token's first",
      numberOf('--skip-below', { least: 0 }),
    )
    .option(
      '--hints <file>',
      "run the experts that hints foretell, not those that routers choose: see 'hints'",
    )
}

/** What the options change of a model, and says that they do. Null without --hints. */
export async function serveOtherwise(
  model: Module,
  { expertsPerToken: experts, skipBelow, hints }: ServingFlags,
  { quiet }: { quiet: boolean },
): Promise<ServedHints | null> {
  const what = [
    experts !== undefined && `${experts} of each token's experts run`,
    skipBelow !== undefined && `experts below ${skipBelow} of a token's first are left out`,
    hints !== undefined && 'hints choose experts',
  ].filter(Boolean)
  if (what.length === 0) return null
  const { serveFewer } = await import('../moe/index.ts')
  const served = hints === undefined ? null : await followHints(model, hints)
  if (experts !== undefined || skipBelow !== undefined)
    serveFewer(model, { expertsPerToken: experts, skipBelow })
  if (!quiet)
    process.stderr.write(
      `${yellow('note:')} ${what.join(', ')}: not what the model was trained for; 'switchyard eval' with the same option says what it costs\n`,
    )
  return served
}

async function followHints(model: Module, file: string): Promise<ServedHints> {
  const { CausalLM } = await import('../models/index.ts')
  const { ServedHints } = await import('../engine/index.ts')
  if (!(model instanceof CausalLM)) throw new ConfigError('are for decoders', { path: '--hints' })
  return ServedHints.read(model, file)
}

/** `hints: 71.2% of the experts that routers chose` */
export function hintsText({ counts: { chosen, served } }: ServedHints): string {
  return `hints: ${((100 * served) / Math.max(1, chosen)).toFixed(1)}% of the experts that routers chose`
}
