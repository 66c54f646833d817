// The recorded models of published architectures: see tests/fixtures/README.md.
import { fileURLToPath } from 'node:url'

/** Folders of the decoders, which are their model types. */
export const decoders = [
  'deepseek_v2',
  'deepseek_v3',
  'glm4_moe',
  'gpt_oss',
  'granitemoe',
  'mixtral',
  'olmoe',
  'phimoe',
  'qwen2_moe',
  'qwen3_moe',
] as const

/** The folder of a recorded model. */
export const fixture = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url))

/** The same of the encoder-decoders. */
export const encoderDecoders = ['switch_transformers', 'nllb_moe'] as const
