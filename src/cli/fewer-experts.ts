// Fewer experts than a model was trained with: the options that generate, chat and eval share.

import type { Command } from 'commander'
import type { FewerExperts } from '../moe/index.ts'
import type { Module } from '../nn/index.ts'
import { yellow } from './terminal.ts'
import { numberOf, wholeNumberOf } from './values.ts'

/** Adds --experts-per-token and --skip-below. */
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
}

/** What the options change of a model, and says that they do. */
export async function serveFewerOf(
  model: Module,
  { expertsPerToken: experts, skipBelow }: FewerExperts,
  { quiet }: { quiet: boolean },
): Promise<void> {
  if (experts === undefined && skipBelow === undefined) return
  const { serveFewer } = await import('../moe/index.ts')
  serveFewer(model, { expertsPerToken: experts, skipBelow })
  if (quiet) return
  const what = [
    experts !== undefined && `${experts} of each token's experts run`,
    skipBelow !== undefined && `experts below ${skipBelow} of a token's first are left out`,
  ]
  process.stderr.write(
    `${yellow('note:')} ${what.filter(Boolean).join(', ')}: not what the model was trained for; 'switchyard eval' with the same option says what it costs\n`,
  )
}
