// Adapters of which no layout is public, in one of our own: settings as recipes have them, tensors by their paths.

import { join } from 'node:path'
import { z } from 'zod'
import { FormatError } from '../../../errors.ts'
import type { Tensor } from '../../../torch/index.ts'
import { type AdapterModule, adapterSchema } from '../../adapters/attach.ts'
import { readJson } from '../folder.ts'
import { attachSaved } from './attached.ts'
import { type AdapterLayout, configName } from './layout.ts'

const peftType = 'SWITCHYARD'

const configSchema = z.looseObject({
  peft_type: z.literal(peftType),
  base_model_name_or_path: z.string().nullish(),
  adapter: adapterSchema,
})

function readConfig(folder: string): z.infer<typeof configSchema> {
  const file = join(folder, configName)
  const result = configSchema.safeParse(readJson(file))
  if (result.success) return result.data
  const [issue] = result.error.issues
  throw new FormatError(`${issue?.path.join('.')} is not what is known here (${issue?.message})`, { file })
}

const tensorsOf = (adapters: ReadonlyMap<string, AdapterModule>): Map<string, Tensor> =>
  new Map(
    [...adapters].flatMap(([path, adapter]) =>
      [...adapter.namedParameters()].flatMap(([name, parameter]) =>
        parameter.declaration.role === 'adapter' ? [[`${path}.${name}`, parameter.detach()] as const] : [],
      ),
    ),
  )

export const ownLayout: AdapterLayout = {
  peftType,
  whyApart: 'its experts count otherwise for each token, of which there is no sum for all',
  baseOf: folder => readConfig(folder).base_model_name_or_path ?? null,
  describe: ({ adapters, config, base }) => ({
    config: { peft_type: peftType, base_model_name_or_path: base, adapter: config },
    tensors: tensorsOf(adapters),
  }),
  nameOfWhole: path => path,
  fill(adapters, take) {
    for (const [name, tensor] of tensorsOf(adapters)) tensor.copy_(take(name))
  },
  apply(model, _, folder) {
    const isAdapted = (path: string, saved: ReadonlyMap<string, Tensor>): boolean =>
      saved.has(path.replace(/weight$/, 'gate.weight'))
    attachSaved(model, folder, { config: readConfig(folder).adapter, isAdapted, tensorsOf })
  },
}
