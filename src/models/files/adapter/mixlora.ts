// MixLoRA adapters as their authors have them (TUDB-Labs/MixLoRA, mixlora/config.py and model.py), but in safetensors.

import { join } from 'node:path'
import { z } from 'zod'
import { FormatError, invariant } from '../../../errors.ts'
import type { Tensor } from '../../../torch/index.ts'
import { type AdapterModule, adapterSchema } from '../../adapters/attach.ts'
import { LoraLinear } from '../../adapters/lora-linear.ts'
import { MixLora } from '../../adapters/mix-lora.ts'
import { readJson } from '../folder.ts'
import { type Attached, attachSaved } from './attached.ts'
import { type AdapterLayout, configName } from './layout.ts'

/** What is read of adapter_config.json; whatever would compute otherwise and is not known here is refused. */
const configSchema = z
  .looseObject({
    peft_type: z.literal('MIXLORA'),
    base_model_name_or_path: z.string().nullish(),
    r: z.int().positive().max(4096),
    lora_alpha: z.number().positive(),
    lora_dropout: z.number().min(0).lt(1).default(0),
    routing_strategy: z.literal('mixtral'),
    num_experts: z.int().positive().max(1024),
    top_k: z.int().positive().default(2),
    use_rslora: z.literal(false).default(false),
    use_dora: z.literal(false).default(false),
    /** Another rank of experts than of attention. */
    expert_lora: z.null().optional(),
    /** Another activation than the feed-forward's. */
    act_fn: z.null().optional(),
  })
  .refine(({ top_k, num_experts }) => top_k <= num_experts, {
    path: ['top_k'],
    message: 'it exceeds num_experts',
  })

function readConfig(folder: string): z.infer<typeof configSchema> {
  const file = join(folder, configName)
  const result = configSchema.safeParse(readJson(file))
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new FormatError(`${issue?.path.join('.')} is not what is known of MixLoRA here (${issue?.message})`, {
    file,
  })
}

const projections = ['gate_proj', 'up_proj', 'down_proj'] as const

/** Layers are `mixlora.layers.N`; a feed-forward's experts and their gate lie in its layer itself. */
const nameOf = (path: string): string => `mixlora.${path.replace(/^model\./, '')}`
const layerOf = (path: string): string => nameOf(path).replace(/\.[^.]+$/, '')

/** The tensors of an adapter by name: those of a stack of experts are views, one of each expert. */
function tensorsOf(path: string, adapter: AdapterModule): (readonly [string, Tensor])[] {
  if (adapter instanceof LoraLinear) {
    return (['lora_A', 'lora_B'] as const).map(
      part => [`${nameOf(path)}.${part}.weight`, adapter[part].detach()] as const,
    )
  }
  invariant(adapter instanceof MixLora, 'MixLoRA is around linear layers and feed-forwards')
  const { gate, experts } = adapter
  const numbers = Array.from({ length: experts.numExperts }, (_, e) => e)
  const ofExperts = projections.flatMap(name =>
    (['lora_A', 'lora_B'] as const).flatMap(part =>
      numbers.map(e => {
        const own = `${layerOf(path)}.experts.${e}.${name}.${part}.weight`
        return [own, experts[name][part].detach().select(0, e)] as const
      }),
    ),
  )
  return [[`${layerOf(path)}.gate.weight`, gate.weight.detach()], ...ofExperts]
}

const allTensors = (adapters: ReadonlyMap<string, AdapterModule>): Map<string, Tensor> =>
  new Map([...adapters].flatMap(([path, adapter]) => tensorsOf(path, adapter)))

const feedForward = '.mlp.down_proj.weight'

/** Which modules are adapted follows from the names. */
const isAdapted: Attached['isAdapted'] = (path, saved) =>
  saved.has(`${nameOf(path.replace(/\.weight$/, ''))}.lora_A.weight`) ||
  (path.endsWith(feedForward) && saved.has(`${nameOf(path.slice(0, -feedForward.length))}.gate.weight`))

export const mixLoraLayout: AdapterLayout = {
  peftType: 'MIXLORA',
  whyApart: 'MixLoRA chooses experts for each token, of which there is no sum for all',
  baseOf: folder => readConfig(folder).base_model_name_or_path ?? null,
  describe({ adapters, config, base, task = 'CAUSAL_LM' }) {
    invariant(config.kind === 'mixlora', 'each kind has a layout of its own')
    const linear = [...adapters].flatMap(([path, adapter]) =>
      adapter instanceof LoraLinear ? (path.split('.').at(-1) ?? '') : projections,
    )
    return {
      tensors: allTensors(adapters),
      config: {
        bias: 'none',
        peft_type: 'MIXLORA',
        task_type: task,
        base_model_name_or_path: base,
        r: config.rank,
        lora_alpha: config.alpha,
        lora_dropout: config.dropout,
        target_modules: [...new Set(linear)],
        routing_strategy: 'mixtral',
        num_experts: config.experts,
        top_k: config.k,
      },
    }
  },
  nameOfWhole: path => path,
  fill(adapters, take) {
    for (const [name, tensor] of allTensors(adapters)) tensor.copy_(take(name))
  },
  apply(model, _, folder) {
    const {
      r: rank,
      lora_alpha: alpha,
      lora_dropout: dropout,
      num_experts: experts,
      top_k: k,
    } = readConfig(folder)
    const config = adapterSchema.parse({ kind: 'mixlora', rank, alpha, dropout, experts, k })
    attachSaved(model, folder, { config, isAdapted, tensorsOf: allTensors })
  },
}
