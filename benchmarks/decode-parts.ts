// Where the time of a step of decoding goes, by operator, from the blocks of a GGUF file; what no operator takes is TypeScript's and
// the tape's.
//   usage: decode-parts.ts [ROUNDS]

import { Contestant, median, race } from './support/contestant.ts'
import { report } from './support/report.ts'
import { decodingModel, storedModel } from './support/stored-model.ts'

const rounds = Number(process.argv[2] ?? 7)
const count = 128
const contexts = [16, 2048]
const { vocab_size: vocab } = decodingModel
const rows = [['weights', 'after', 'part', 'ms', 'of the step']]
const notes: string[] = []
const data: Record<string, unknown> = {}

for (const type of ['q8_0', 'q4_0']) {
  const all = contexts.map(prompt => {
    const task = { kind: 'write', prompt, room: count * (rounds + 2) }
    const setting = JSON.stringify({ file: storedModel(type), vocab, task })
    return Contestant.ours(`${type} after ${prompt}`, 'decode-parts.ts', [setting])
  })
  await race(all, { rounds, count, warmup: count })
  for (const [i, who] of all.entries()) {
    addRows(type, contexts[i] ?? 0, who)
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
  const detail = (name: string): number => median(who.rounds.map(round => round[name] ?? 0))
  const step = detail('step')
  const names = Object.keys(who.rounds[0] ?? {}).filter(name => !['seconds', 'peak', 'step'].includes(name))
  const parts = names.map((name): [string, number] => [name, detail(name)])
  const host = step - parts.reduce((sum, [, seconds]) => sum + seconds, 0)
  const share = (seconds: number): string => `${((100 * seconds) / step).toFixed(1)}%`
  for (const [name, seconds] of [...parts, ['TypeScript and the tape', host] as const])
    rows.push([type, String(prompt), name, (seconds * 1e3).toFixed(2), share(seconds)])
  notes.push(`${who.name}, share of TypeScript and the tape: ${(host / step).toFixed(3)} (aim: at most 0.05)`)
}
