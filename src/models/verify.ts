// A model against what another implementation recorded of it.

import { FormatError } from '../errors.ts'
import { inferenceMode, type Tensor, tidy } from '../torch/index.ts'
import type { AnyModel } from './architectures/create.ts'
import type { LoadOptions } from './files/load.ts'
import { openModel } from './files/open.ts'
import { openTensors } from './files/tensor-file.ts'
import { generate } from './generation/generate.ts'
import type { TextModel } from './generation/session.ts'
import { EncoderDecoderLM } from './stack/encoder-decoder.ts'
import { MaskedLM } from './stack/language-model.ts'
import { tokensOf } from './stack/tokens.ts'

/** One comparison. */
export interface Check {
  name: string
  /** Largest absolute difference. */
  absolute: number
  /** Largest difference over the recorded magnitude (at least 1e-12). */
  relative: number
  ok: boolean
  /** Why nothing could be compared, as in `shape [2], recorded [3]`. */
  problem?: string
}

/**
 * Compares logits of `input_ids` with `logits`, and greedy tokens with `generated` where it is recorded.
 *
 * @param folder a model folder
 * @param reference a safetensors file with these tensors
 * @param tolerance allowed absolute difference of logits
 * @param options how the model is loaded
 */
export async function verifyModel(
  folder: string,
  reference: string,
  tolerance: number,
  options: LoadOptions = {},
): Promise<Check[]> {
  const recorded = openTensors(reference)
  const model = openModel(folder).load(options)
  try {
    const ids = recordedTensor(recorded, 'input_ids', reference)
    const wanted = recordedTensor(recorded, 'logits', reference)
    const isAnswer = model instanceof EncoderDecoderLM
    const target = isAnswer ? recordedTensor(recorded, 'decoder_input_ids', reference) : null
    const logits = compareLogits(() => scoresOf(model, ids, target), wanted, tolerance)
    const generated = recorded.get('generated')
    if (!generated || model instanceof MaskedLM) return [logits]
    const written = idsOf(generated)
    const [prompt, answer] = isAnswer
      ? [idsOf(ids.select(0, 0)), written.slice(1)] // after the token that the decoder begins with
      : [written.slice(0, promptLength), written.slice(promptLength)]
    return [logits, await compareGreedy(model, prompt, answer)]
  } finally {
    model.dispose()
  }
}

/** A tensor that a reference file must hold. */
export function recordedTensor(recorded: ReadonlyMap<string, Tensor>, name: string, file: string): Tensor {
  const tensor = recorded.get(name)
  if (!tensor) {
    const known = [...recorded.keys()].slice(0, 6).join(', ')
    throw new FormatError(`holds no tensor '${name}' (it has ${known}): it is not a reference of this kind`, {
      file,
    })
  }
  return tensor
}

/** ids and target [B, T] -> logits [B, T, V] */
function scoresOf(model: AnyModel, ids: Tensor, target: Tensor | null): Tensor {
  const { logits } =
    model instanceof EncoderDecoderLM
      ? model.forward(tokensOf(ids), tokensOf(target as Tensor))
      : model.forward(tokensOf(ids))
  return logits.view([...(target ?? ids).shape, -1])
}

function compareLogits(compute: () => Tensor, wanted: Tensor, tolerance: number): Check {
  return inferenceMode(() =>
    tidy(() => {
      const difference = compare('logits', compute(), wanted)
      return { ...difference, ok: difference.absolute <= tolerance }
    }),
  )
}

/** Largest differences of two tensors; `ok` is left to the caller. */
export function compare(name: string, actual: Tensor, wanted: Tensor): Omit<Check, 'ok'> {
  return tidy(() => {
    if (actual.shape.join() !== wanted.shape.join()) {
      const problem = `shape [${actual.shape.join(', ')}], recorded [${wanted.shape.join(', ')}]`
      return { name, absolute: Number.NaN, relative: Number.NaN, problem }
    }
    const difference = actual.detach().double().sub(wanted.double()).abs()
    const scale = wanted.double().abs().max().clamp(1e-12)
    return { name, absolute: difference.max().item(), relative: difference.max().div(scale).item() }
  })
}

/** Greedy tokens after a prompt; the difference counts wrong tokens. */
async function compareGreedy(model: TextModel, prompt: number[], wanted: number[]): Promise<Check> {
  const ids: number[] = []
  const options = { temperature: 0, maxNewTokens: wanted.length, stopIds: [] }
  for await (const id of generate(model, prompt, options)) ids.push(id)
  const wrong = wanted.filter((id, i) => ids[i] !== id).length
  return { name: 'generated', absolute: wrong, relative: wrong / wanted.length, ok: wrong === 0 }
}

const idsOf = (tensor: Tensor): number[] => Array.from(tensor.reshape([-1]).toTypedArray<'i64'>(), Number)

/** Recorded runs of decoders start from the first 9 ids of their row. */
const promptLength = 9
