// The architectures of fairseq-train by name, and their sizes (fairseq/models/transformer/transformer_legacy.py, transformer_lm.py).

import { ConfigError } from '../../errors.ts'
import { closest } from '../recipe/known-keys.ts'

export type FairseqTask = 'translation' | 'language_modeling'

/** Sizes of a side, where no flag says otherwise. */
export interface ArchitectureSizes {
  width: number
  inner: number
  layers: number
  heads: number
  /** Default: relu. */
  activation?: 'gelu'
  /** Default: 0.1, and 0 of attention's probabilities. */
  dropout?: number
  attentionDropout?: number
}

const base = { width: 512, inner: 2048, layers: 6, heads: 8 }
const big = { width: 1024, inner: 4096, layers: 6, heads: 16 }

/** GPT's inner widths are four times the others. */
const gpt = (width: number, layers: number, heads: number): ArchitectureSizes => ({
  ...{ width, inner: 4 * width, layers, heads },
  activation: 'gelu',
})

const architectures: Readonly<Record<FairseqTask, Readonly<Record<string, ArchitectureSizes>>>> = {
  translation: {
    transformer: base,
    transformer_moe: base, // as experts are often written about; fairseq has them by flags alone
    transformer_tiny: { width: 64, inner: 64, layers: 2, heads: 2 },
    transformer_iwslt_de_en: { ...base, inner: 1024, heads: 4 },
    transformer_wmt_en_de: base,
    transformer_vaswani_wmt_en_de_big: { ...big, dropout: 0.3 },
    transformer_vaswani_wmt_en_fr_big: big,
    transformer_wmt_en_de_big: { ...big, dropout: 0.3, attentionDropout: 0.1 },
  },
  language_modeling: {
    transformer_lm: base,
    transformer_lm_moe: base,
    transformer_lm_big: { ...big, layers: 12 },
    transformer_lm_gpt: gpt(768, 12, 12),
    transformer_lm_gpt2_small: gpt(1024, 24, 16),
    transformer_lm_gpt2_medium: gpt(1280, 36, 20),
    transformer_lm_gpt2_big: gpt(1600, 48, 25),
    transformer_lm_gpt3_small: gpt(768, 12, 12),
    transformer_lm_gpt3_medium: gpt(1024, 24, 16),
    transformer_lm_gpt3_large: gpt(1536, 24, 16),
    transformer_lm_gpt3_xl: gpt(2048, 24, 32),
  },
}

/**
 * What an architecture is for, and its sizes.
 *
 * @throws ConfigError for one that is not known
 */
export function architectureNamed(name: string): { task: FairseqTask; sizes: ArchitectureSizes } {
  for (const task of Object.keys(architectures) as FairseqTask[]) {
    const sizes = Object.hasOwn(architectures[task], name) ? architectures[task][name] : undefined
    if (sizes) return { task, sizes }
  }
  const names = Object.values(architectures).flatMap(Object.keys)
  const near = closest(name, names)
  throw new ConfigError(
    `'${name}' is not known here; ${near ? `did you mean ${near}?` : `there are ${names.join(', ')}`}`,
    { path: '--arch' },
  )
}
