// Adapters to files, and back into the modules that they were, or around a base.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { writeDurably } from '../../../files.ts'
import { writeSafetensors } from '../../../formats/index.ts'
import { isGroup } from '../../../group.ts'
import { noGrad, type Tensor, tidy } from '../../../torch/index.ts'
import type { AdapterConfig } from '../../adapters/attach.ts'
import { readJson } from '../folder.ts'
import { openTensors, wholeTensorSource } from '../tensor-file.ts'
import { type Adapted, type AdapterLayout, configName, refuseMismatch, weightsName } from './layout.ts'
import { mixLoraLayout } from './mixlora.ts'
import { ownLayout } from './own.ts'
import { loraLayout } from './peft.ts'

const layouts: Record<AdapterConfig['kind'], AdapterLayout> = {
  lora: loraLayout,
  mixlora: mixLoraLayout,
  molora: ownLayout,
  mov: ownLayout,
}

/** Whether a folder holds an adapter. */
export const isAdapter = (folder: string): boolean => existsSync(join(folder, configName))

/** How the adapter of a folder lies there; of kinds that are not known, as PEFT's, which then says what it is not. */
export function layoutOf(folder: string): AdapterLayout {
  const json = readJson(join(folder, configName))
  const type = isGroup(json) ? json.peft_type : undefined
  return Object.values(layouts).find(({ peftType }) => peftType === type) ?? loraLayout
}

/** adapter_config.json, and all tensors of its folder by name. */
function described(adapted: Adapted): ReturnType<AdapterLayout['describe']> {
  const layout = layouts[adapted.config.kind]
  const { config, tensors } = layout.describe(adapted)
  for (const [path, tensor] of adapted.whole) tensors.set(layout.nameOfWhole(path), tensor)
  return { config, tensors }
}

/** Writes adapters so that they open around the same base. */
export function saveAdapters(folder: string, adapted: Adapted): void {
  noGrad(() =>
    tidy(() => {
      const { config, tensors } = described(adapted)
      writeSafetensors(
        join(folder, weightsName),
        [...tensors].map(([name, tensor]) => wholeTensorSource(name, tensor.detach().contiguous())),
        { format: 'pt' },
      )
      writeDurably(join(folder, configName), `${JSON.stringify(config, null, 2)}\n`)
    }),
  )
}

/** Copies into adapters what saveAdapters() wrote of the same ones. @throws FormatError listing what does not fit, before any */
export function loadAdapters(folder: string, adapted: Adapted): void {
  const { adapters, config, whole } = adapted
  noGrad(() =>
    tidy(() => {
      const saved = openTensors(join(folder, weightsName))
      refuseMismatch(described(adapted).tensors, saved, folder)
      const { fill, nameOfWhole } = layouts[config.kind]
      const take = (name: string): Tensor => saved.get(name) as Tensor
      for (const [path, tensor] of whole) tensor.detach().copy_(take(nameOfWhole(path)))
      fill(adapters, take)
    }),
  )
}
