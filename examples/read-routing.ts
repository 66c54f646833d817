// Which experts take which tokens of a text: by layer, each token's experts and their weights, and the load.
//   run: npx tsx examples/read-routing.ts [MODEL] [--text TEXT]

import { parseArgs } from 'node:util'
import { inferenceMode, openModel, routingStats, tidy, tokensOfSequences } from 'switchyard'
import { reciter } from './support/reciter.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { text: { type: 'string', default: 'to their tracks' } },
})
const opened = openModel(positionals[0] ?? (await reciter()))
const model = opened.load({ kind: 'decoder' })
const { tokenizer } = opened
const ids = await tokenizer.encode(values.text)
const words = ids.map(id => JSON.stringify(tokenizer.decode([id])))

inferenceMode(() =>
  tidy(() => {
    const { routings } = model.forward(tokensOfSequences([ids]))
    for (const { layer, chosen, served } of routings) {
      if (chosen.kind !== 'token') continue // in PEER the experts are too many to list
      console.log(`layer ${layer}`)
      const experts = chosen.indices.tolist() as number[][] // [T, K], -1 for an empty slot
      const weights = chosen.weights.float().tolist() as number[][]
      for (const [t, word] of words.entries()) {
        const choices = experts[t]?.map((expert, k) => `${expert} (${weights[t]?.[k]?.toFixed(2)})`)
        console.log(`  ${word.padEnd(12)} -> ${choices?.join(', ')}`)
      }
      const { load, entropy, dead } = routingStats(chosen, served as typeof chosen)
      console.log(
        `  load ${load}; ${dead} unused; entropy ${entropy.toFixed(2)} of ${Math.log(load.length).toFixed(2)}`,
      )
    }
  }),
)
