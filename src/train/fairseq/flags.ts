// The flags of fairseq-train that are understood, and reading a command line of them (fairseq/options.py; those of experts from its
// branch `moe`).

import { ConfigError } from '../../errors.ts'
import { closest } from '../recipe/known-keys.ts'

interface Flag {
  /** Whether it stands alone. Default: a value follows. */
  isSwitch?: true
  /** What it is called in other places. */
  also?: readonly string[]
  /** Why it changes nothing here. Default: it does. */
  idle?: string
}

const oneMachine = 'one process trains here'
const ownFiles = 'a run folder has its own files'

/** By name. What a flag means is in recipe.ts and model.ts. */
export const fairseqFlags = {
  arch: { also: ['a'] },
  task: {},
  criterion: {},
  'source-lang': { also: ['s'] },
  'target-lang': { also: ['t'] },
  seed: {},
  'save-dir': {},
  'log-interval': {},
  'validate-interval-updates': {},
  'save-interval-updates': {},
  'keep-interval-updates': {},
  patience: {},
  'max-update': {},
  'max-epoch': {},
  'max-tokens': {},
  'batch-size': { also: ['max-sentences'] },
  'update-freq': {},
  'distributed-world-size': {},
  'tokens-per-sample': {},
  'max-source-positions': {},
  'max-target-positions': {},
  optimizer: {},
  lr: { also: ['learning-rate'] },
  'lr-scheduler': {},
  'warmup-updates': {},
  'adam-betas': {},
  'adam-eps': {},
  'weight-decay': { also: ['wd'] },
  momentum: {},
  'clip-norm': {},
  'label-smoothing': {},
  fp16: { isSwitch: true },
  bf16: { isSwitch: true },
  'memory-efficient-fp16': { isSwitch: true },
  'checkpoint-activations': { isSwitch: true },
  dropout: {},
  'attention-dropout': {},
  'activation-dropout': { also: ['relu-dropout'] },
  'activation-fn': {},
  'encoder-layers': {},
  'encoder-embed-dim': {},
  'encoder-ffn-embed-dim': {},
  'encoder-attention-heads': {},
  'decoder-layers': {},
  'decoder-embed-dim': {},
  'decoder-ffn-embed-dim': {},
  'decoder-attention-heads': {},
  'share-all-embeddings': { isSwitch: true },
  'share-decoder-input-output-embed': { isSwitch: true },
  'no-scale-embedding': { isSwitch: true },
  'moe-expert-count': { also: ['moe-experts'] },
  'moe-freq': {},
  'encoder-moe-freq': {},
  'decoder-moe-freq': {},
  'moe-gating-type': {},
  'moe-k': {},
  'moe-top1-expert': { isSwitch: true },
  'moe-gate-loss-wt': {},
  'moe-gate-loss-combine-method': {},
  'moe-gate-loss-transform': {},
  'moe-second-expert-policy': {},
  'moe-normalize-gate-prob-before-dropping': {
    isSwitch: true,
    also: ['moe-normalize-expert-prob-before-dropping'],
  },
  'moe-eval-capacity-token-fraction': {},
  'moe-batch-prioritized-routing': { isSwitch: true },
  'moe-expert-output-masking': {},
  'capacity-factor': {},
  'moe-normalize-expert-grad': { idle: `it divides what processes add up, and ${oneMachine}` },
  'moe-gating-use-fp32': { isSwitch: true, idle: 'routers always compute in f32' },
  'use-moe-pad-mask': { isSwitch: true, idle: 'nothing is padded' },
  'record-a2a-perf-stats': { isSwitch: true, idle: oneMachine },
  'dummy-a2a': { isSwitch: true, idle: oneMachine },
  'ddp-backend': { idle: oneMachine },
  'distributed-init-method': { idle: oneMachine },
  'distributed-port': { idle: oneMachine },
  'distributed-rank': { idle: oneMachine },
  'fp16-no-flatten-grads': { isSwitch: true, idle: 'gradients are never flattened' },
  'fp16-init-scale': { idle: 'loss scaling begins as recipes have it' },
  'fp16-adam-stats': { isSwitch: true, idle: 'moments are kept in f32' },
  'min-loss-scale': { idle: 'loss scaling ends by maxBadSteps' },
  cpu: { isSwitch: true, idle: 'it is the CPU unless --set device says otherwise' },
  'encoder-normalize-before': { isSwitch: true, idle: 'layers are always normalized before' },
  'decoder-normalize-before': { isSwitch: true, idle: 'layers are always normalized before' },
  'warmup-init-lr': { idle: 'warm-up begins at 0' },
  'stop-min-lr': { also: ['min-lr'], idle: 'the run ends by its steps' },
  'total-num-update': { idle: 'schedules end with --max-update' },
  'num-workers': { idle: 'batches are read from memory' },
  'dataset-impl': { idle: 'what the files are shows in them' },
  'sample-break-mode': { idle: 'text is cut into sequences of --tokens-per-sample' },
  'left-pad-source': { idle: 'nothing is padded' },
  'left-pad-target': { idle: 'nothing is padded' },
  'required-batch-size-multiple': { idle: 'batches are of one size' },
  'max-tokens-valid': { idle: 'validation has the batches of training' },
  'batch-size-valid': { also: ['max-sentences-valid'], idle: 'validation has the batches of training' },
  'skip-invalid-size-inputs-valid-test': { isSwitch: true, idle: 'long pairs are cut' },
  'log-format': { idle: '--json prints events as JSON' },
  'no-progress-bar': { isSwitch: true, idle: '--quiet prints no progress' },
  'no-epoch-checkpoints': { isSwitch: true, idle: ownFiles },
  'no-last-checkpoints': { isSwitch: true, idle: ownFiles },
  'keep-last-epochs': { idle: ownFiles },
  'save-interval': { idle: ownFiles },
  'validate-interval': { idle: 'validation is by --validate-interval-updates' },
  'tensorboard-logdir': { idle: ownFiles },
  'restore-file': { idle: 'runs go on by train --out DIR --resume' },
  'best-checkpoint-metric': { idle: 'the best is that of the lowest validation loss' },
  'eval-bleu': { isSwitch: true, idle: "'eval' tells BLEU of the finished run" },
  'eval-bleu-args': { idle: "'eval' tells BLEU of the finished run" },
  'eval-bleu-detok': { idle: "'eval' tells BLEU of the finished run" },
  'eval-bleu-remove-bpe': { isSwitch: true, idle: "'eval' tells BLEU of the finished run" },
} as const satisfies Record<string, Flag>

export type FairseqFlag = keyof typeof fairseqFlags

const rows: readonly (readonly [string, Flag])[] = Object.entries(fairseqFlags)

/** A command line, read. */
export interface FairseqCommand {
  /** DATA */
  data: string
  /** What was given, by the name of the flag; empty for one that stands alone. */
  values: ReadonlyMap<FairseqFlag, string>
}

/**
 * Reads `--flag value`, `--flag=value` and DATA.
 *
 * @throws ConfigError for a flag that is not known, one without its value, and where there is no DATA or more than one
 */
export function parseFairseq(args: readonly string[]): FairseqCommand {
  const values = new Map<FairseqFlag, string>()
  const data: string[] = []
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string
    const [, given, attached] = /^--?([a-zA-Z][\w-]*)(?:=(.*))?$/s.exec(arg) ?? []
    if (given === undefined) {
      data.push(arg)
      continue
    }
    const [name, flag] = flagNamed(given, arg)
    if (flag.isSwitch) values.set(name, '')
    else {
      const value = attached ?? args[++i]
      if (value === undefined) throw new ConfigError('has no value after it', { path: arg })
      values.set(name, value)
    }
  }
  const [only] = data
  if (only !== undefined && data.length === 1) return { data: only, values }
  const problem =
    data.length === 0
      ? 'is missing: name a data-bin folder, or one of text'
      : `is one folder, got ${data.join(' and ')}`
  throw new ConfigError(problem, { path: 'DATA' })
}

function flagNamed(given: string, shown: string): [FairseqFlag, Flag] {
  const found = rows.find(([name, { also = [] }]) => name === given || also.includes(given))
  if (found) return found as [FairseqFlag, Flag]
  const names = rows.flatMap(([name, { also = [] }]) => [name, ...also])
  const near = closest(given, names)
  const hint = near ? `did you mean --${near}?` : 'see docs/recipes.md for those that are'
  throw new ConfigError(`is no flag of fairseq that is known here; ${hint}`, {
    path: shown.replace(/=.*/s, ''),
  })
}

/** Flags that change nothing here, with the reason, those of one reason in one line. */
export function idleNotes({ values }: FairseqCommand): string[] {
  const byReason = new Map<string, string[]>()
  for (const name of values.keys()) {
    const { idle }: Flag = fairseqFlags[name]
    if (idle !== undefined) byReason.set(idle, [...(byReason.get(idle) ?? []), `--${name}`])
  }
  return [...byReason].map(([reason, names]) => `without effect: ${names.join(', ')} (${reason})`)
}
