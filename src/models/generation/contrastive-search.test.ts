// Contrastive search against the same by whole texts, read anew for each candidate.
import { describe, expect, test } from 'vitest'
import { decoders, fixture } from '../../../tests/support/fixtures.ts'
import { inferenceMode, tidy } from '../../torch/index.ts'
import { type CausalLM, openModel, tokensOfSequences } from '../index.ts'
import { contrastiveSearch } from './contrastive-search.ts'

const prompt = [5, 9, 2, 7]
const [length, candidates] = [8, 3]

/** Hidden states of a text's tokens, of length 1, and the probabilities of the next one. */
function read(model: CausalLM, ids: readonly number[]): { hidden: number[][]; probs: number[] } {
  return inferenceMode(() =>
    tidy(() => {
      const { hidden, logits } = model.forward(tokensOfSequences([ids]), { logitsAt: [ids.length - 1] })
      const unit = hidden.div(hidden.norm(2, [-1], true))
      return {
        hidden: unit.tolist() as number[][],
        probs: (logits.softmax(-1).tolist() as number[][])[0] ?? [],
      }
    }),
  )
}

function reference(model: CausalLM, penalty: number): number[] {
  const written: number[] = []
  for (let step = 0; step < length; step++) {
    const text = [...prompt, ...written]
    const { hidden, probs } = read(model, text)
    const likeliest = [...probs.keys()].sort((a, b) => (probs[b] ?? 0) - (probs[a] ?? 0)).slice(0, candidates)
    const scores = likeliest.map(id => {
      const last = read(model, [...text, id]).hidden.at(-1) ?? []
      const cosines = hidden.map(state => state.reduce((sum, x, d) => sum + x * (last[d] ?? 0), 0))
      return (1 - penalty) * (probs[id] ?? 0) - penalty * Math.max(...cosines)
    })
    written.push(likeliest[scores.indexOf(Math.max(...scores))] ?? -1)
  }
  return written
}

describe.each(decoders)('%s', name => {
  test.each([0, 0.6])('with a penalty of %d takes the candidates of the formula', async penalty => {
    using model = openModel(fixture(name)).load({ kind: 'decoder', dtype: 'f64' })
    const options = { penalty, candidates, maxNewTokens: length, stopIds: [] }
    const { ids, reason } = await contrastiveSearch(model, prompt, options)
    expect(ids).toEqual(reference(model, penalty))
    expect(reason).toBe('max-new-tokens')
  })
})

describe('a text', () => {
  const options = { candidates, maxNewTokens: length }

  test('ends where it is told to, or at the model’s last position, or when it is aborted', async () => {
    using model = openModel(fixture('mixtral')).load({ kind: 'decoder' })
    const { ids } = await contrastiveSearch(model, prompt, { ...options, stopIds: [] })
    const stop = ids[3] as number
    const ended = await contrastiveSearch(model, prompt, { ...options, stopIds: [stop] })
    expect(ended).toEqual({ ids: ids.slice(0, ids.indexOf(stop)), reason: 'end-of-text' })
    const aborted = await contrastiveSearch(model, prompt, { ...options, signal: AbortSignal.abort() })
    expect(aborted).toEqual({ ids: [], reason: 'aborted' })
  })

  test('is refused by an encoder-decoder, and with what cannot be', async () => {
    using model = openModel(fixture('mixtral')).load({ kind: 'decoder' })
    using other = openModel(fixture('switch_transformers')).load({ kind: 'text' })
    await expect(contrastiveSearch(other, prompt)).rejects.toThrow('contrastive: is for decoders')
    await expect(contrastiveSearch(model, prompt, { penalty: 1.5 })).rejects.toThrow(
      'penalty: must be in 0..1',
    )
    await expect(contrastiveSearch(model, prompt, { candidates: 0 })).rejects.toThrow('candidates: must be')
  })
})
