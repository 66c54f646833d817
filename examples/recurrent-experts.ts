// The first sparsely gated mixture (Shazeer et al., 2017), on bytes of the shipped texts: as much work per token, with more experts to
// choose from.
//   run: npx tsx examples/recurrent-experts.ts [--steps 300]

import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { AdamW, manualSeed, noGrad, tensor, tidy } from 'switchyard'
import { LstmMixture, type LstmMixtureOptions } from 'switchyard/moe'
import { crossEntropyLoss } from 'switchyard/torch'

const steps = Number(parseArgs({ options: { steps: { type: 'string', default: '300' } } }).values.steps)
const [sequences, length] = [16, 48]
const bytes = ['bible', 'es', 'code', 'maths'].map(name =>
  readFileSync(new URL(`../samples/${name}.jsonl`, import.meta.url)).subarray(0, 400_000),
)

/** A batch of pieces of all texts, and what follows each byte: [B, S] each. The last tenth is held out. */
function batch(seed: number, isHeldOut = false) {
  const rows = Array.from({ length: sequences }, (_, i) => {
    const text = bytes[i % bytes.length] as Buffer
    const [from, to] = isHeldOut ? [0.9, 1] : [0, 0.9]
    const place = ((seed * 7919 + i * 104_729) % 10_007) / 10_007
    const start = Math.floor(text.length * (from + (to - from) * place))
    return text.subarray(Math.min(start, text.length - length - 1)).subarray(0, length + 1)
  })
  const all = tensor(rows.map(row => [...row].map(BigInt)))
  return { ids: all.narrow(1, 0, length), next: all.narrow(1, 1, length) }
}

function learnt(options: Partial<LstmMixtureOptions> & { numExperts: number }): {
  loss: number
  used: number
} {
  manualSeed(1)
  const model = new LstmMixture({ vocabSize: 256, hiddenSize: 64, intermediateSize: 128, ...options })
  const optimizer = new AdamW(model.parameters(), { learningRate: 4e-3 })
  for (let step = 0; step < steps; step++)
    tidy(() => {
      const { ids, next } = batch(step)
      const { logits, routing } = model.forward(ids)
      const { importance, load } = routing.losses ?? {}
      const balance = importance && load ? importance.add(load).mul(0.1) : 0 // the paper's coefficients
      model.zeroGrad()
      crossEntropyLoss(logits.flatten(0, 1), next.flatten()).add(balance).backward()
      optimizer.update()
    })
  model.eval()
  return noGrad(() =>
    tidy(() => {
      const { ids, next } = batch(1, true)
      const { logits, routing } = model.forward(ids)
      const used = new Set(routing.indices.flatten().tolist() as number[]).size
      return { loss: crossEntropyLoss(logits.flatten(0, 1), next.flatten()).item(), used }
    }),
  )
}

const models = {
  '4 experts, all of them': { numExperts: 4 },
  '32 experts, 4 chosen': { numExperts: 32 },
  '32 experts in 8 groups, 2 x 2 chosen': { numExperts: 32, groups: 8 },
}
for (const [name, options] of Object.entries(models)) {
  const { loss, used } = learnt(options)
  console.log(`${name}: ${(loss / Math.LN2).toFixed(3)} bits per byte, ${used} of them used`)
}
