// adapter_config.json of Hugging Face's PEFT: what an adapter is for, and how its sum is scaled.

import { join } from 'node:path'
import { z } from 'zod'
import { FormatError } from '../../../errors.ts'
import { readJson } from '../folder.ts'
import { configName } from './layout.ts'

/** What is read of adapter_config.json; whatever would change the sum and is not known here is refused. */
const configSchema = z.looseObject({
  peft_type: z.literal('LORA'),
  base_model_name_or_path: z.string().nullish(),
  r: z.int().positive().max(65_536),
  lora_alpha: z.number().positive(),
  use_rslora: z.boolean().default(false),
  use_dora: z.literal(false).default(false),
  fan_in_fan_out: z.literal(false).default(false),
  bias: z.literal('none').default('none'),
  // The others begin by taking something out of the base, which is then not the base that is opened here.
  init_lora_weights: z.union([z.boolean(), z.enum(['gaussian', 'eva', 'orthogonal'])]).default(true),
  rank_pattern: z.record(z.string(), z.never()).default({}),
  alpha_pattern: z.record(z.string(), z.never()).default({}),
})

export type PeftConfig = z.infer<typeof configSchema>

/** @throws FormatError for what is no LoRA adapter, or one whose sum is not that of plain LoRA */
export function readPeftConfig(folder: string): PeftConfig {
  const file = join(folder, configName)
  const result = configSchema.safeParse(readJson(file))
  if (result.success) return result.data
  const [issue] = result.error.issues
  const field = issue?.path.join('.') ?? ''
  throw new FormatError(`${field} is not what a plain LoRA adapter has (${issue?.message})`, { file })
}

/** `scale` of what is learnt: alpha / r, or alpha / sqrt(r). */
export const scaleOf = ({ r, lora_alpha: alpha, use_rslora: byRoot }: PeftConfig): number =>
  alpha / (byRoot ? Math.sqrt(r) : r)
