// Every decoder in f64 against the same written out in plain numbers.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, test } from 'vitest'
import { variants } from '../../../tests/support/architecture-variants.ts'
import { referenceLogits } from '../../../tests/support/reference-decoder.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { inferenceMode, manualSeed, noGrad, randn, tensor } from '../../torch/index.ts'
import { createModel, parseModelConfig, tokensOfSequences } from '../index.ts'

const f64 = { dtype: 'f64' } as const
const ids = [5, 17, 3, 60, 42, 42, 9, 33, 81, 12]

/** Rotary rules, where the ten positions are more than the original text where that matters. */
const rules = [
  { rope_type: 'linear', factor: 3 },
  {
    rope_type: 'llama3',
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 128, // one of the four frequencies is on the ramp
  },
  {
    rope_type: 'yarn',
    factor: 4,
    beta_fast: 2, // the ramp starts within the four frequencies
    original_max_position_embeddings: 64,
    attention_factor: 1.3,
  },
  {
    rope_type: 'longrope',
    factor: 4,
    short_factor: [1, 1.1, 1.2, 1.3],
    long_factor: [2, 3, 4, 5],
    original_max_position_embeddings: 6,
  },
].map(rule => ({ rope_parameters: { rope_theta: 10_000, ...rule } }))

/** The dynamic rule's original text is max_position_embeddings, as in transformers. */
const dynamic = [6, 64].map(max_position_embeddings => ({
  max_position_embeddings,
  rope_parameters: { rope_theta: 10_000, rope_type: 'dynamic', factor: 2 },
}))

const changed = {
  ...variants,
  mixtral: [{ sliding_window: 3, tie_word_embeddings: true }, ...rules, ...dynamic],
}

describe.each(Object.entries(changed))('%s', (name, changes) => {
  const file = fileURLToPath(new URL(`../../../tests/fixtures/${name}/config.json`, import.meta.url))
  const json = JSON.parse(readFileSync(file, 'utf8')) as object

  test.each([{}, ...changes])('the plain reference computes the same with %j', change => {
    const config = parseModelConfig({ ...json, ...change }, name)
    manualSeed(7)
    using model = createModel(config).to('f64').eval()
    noGrad(() => {
      // Large enough that bounds, windows and routing matter; sinks and biases are not left at zero.
      for (const parameter of model.parameters()) parameter.mul_(5).add_(randn(parameter.shape, f64).mul(0.1))
    })
    const { logits } = inferenceMode(() => model.forward(tokensOfSequences([ids])))
    const wanted = tensor(referenceLogits(config, model.stateDict(), ids), f64)
    // Sums of some hundred terms of order ten in another order, 1e-16 of each; scores and two layers make it a thousandfold
    // at most. One f32 anywhere would be 1e-7.
    expectClose(logits, wanted, 1e-9)
  })
})
