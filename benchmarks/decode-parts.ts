// Where the time of a step of decoding goes, part by part, from the blocks of a GGUF file; and what the host takes of it.
//   usage: decode-parts.ts [ROUNDS]

import { Contestant, median, race } from './support/contestant.ts'
import { report } from './support/report.ts'
import { decodingModel, storedModel, tinyStoredModel } from './support/stored-model.ts'

const rounds = Number(process.argv[2] ?? 7)
const count = 64
const contexts = [16, 2048]
const { vocab_size: vocab } = decodingModel
const rows = [['weights', 'after', 'part', 'ms', 'of the step']]
const notes: string[] = []
const data: Record<string, unknown> = {}

const contestant = (name: string, file: string, prompt: number): Contestant => {
  const task = { kind: 'write', prompt, room: count * (rounds + 2) }
  return Contestant.ours(name, 'decode-parts.ts', [JSON.stringify({ file, vocab, task })])
}

for (const type of ['q8_0', 'q4_0']) {
  const all = contexts.map(prompt => contestant(`${type} after ${prompt}`, storedModel(type), prompt))
  // The same operators with next to nothing to compute: TypeScript, the dispatcher and libtorch's own overhead.
  const host = contestant(`${type}, host alone`, tinyStoredModel(type), 16)
  await race([...all, host], { rounds, count, warmup: count })
  for (const [i, who] of all.entries()) addRows(type, contexts[i] ?? 0, who)
  const [short] = all
  if (short) {
    const share = (100 * host.median) / short.median
    notes.push(
      `${type}, TypeScript and dispatch: ${(host.median * 1e3).toFixed(2)} ms, ${share.toFixed(0)}% of a step after 16 tokens`,
    )
  }
  for (const who of [...all, host]) {
    data[who.name] = who.rounds
    who.close()
  }
}

report({
  name: 'decode-parts',
  setting: { model: decodingModel, contexts, rounds, count },
  rows,
  notes,
  data,
})

function addRows(type: string, prompt: number, who: Contestant): void {
  const names = Object.keys(who.rounds[0] ?? {}).filter(name => name !== 'seconds' && name !== 'peak')
  const parts = names.map((name): [string, number] => [
    name,
    median(who.rounds.map(round => round[name] ?? 0)),
  ])
  const rest = who.median - parts.reduce((sum, [, seconds]) => sum + seconds, 0)
  for (const [name, seconds] of [...parts, ['residuals, sampling, the rest', rest] as const]) {
    const share = `${((100 * seconds) / who.median).toFixed(0)}%`
    rows.push([type, String(prompt), name, (seconds * 1e3).toFixed(2), share])
  }
}
