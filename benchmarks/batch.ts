// Several texts written together by one model, in tokens per second of all of them, beside llama.cpp with as many sequences.
//   usage: batch.ts [ROUNDS] [TYPE] [TEXTS...]

import { Contestant, race } from './support/contestant.ts'
import { hasLlama } from './support/llama.ts'
import { report } from './support/report.ts'
import { decodingModel, storedModel } from './support/stored-model.ts'

const [roundsText = '5', type = 'q8_0', ...counts] = process.argv.slice(2)
const rounds = Number(roundsText)
const allTexts = counts.length > 0 ? counts.map(Number) : [1, 4, 8, 16]
const [prompt, count] = [16, 48]
const aims: Record<number, number> = { 8: 1.5 }

const file = storedModel(type)
const rows = [['texts', 'who', 'tokens/s of all', 'ms per step']]
const notes: string[] = []
const data: Record<string, unknown> = {}
const speeds = new Map<number, number>()
if (!hasLlama) notes.push('llama.cpp is not there: scripts/bench.sh batch fetches it')

for (const texts of allTexts) {
  const setting = JSON.stringify({ file, vocab: decodingModel.vocab_size, texts, prompt })
  const ours = Contestant.ours('switchyard', 'batch.ts', [setting], { SWITCHYARD_THREADS: '2' })
  const peers = hasLlama
    ? ['1', '2'].map(threads =>
        Contestant.ours(`llama.cpp, threads: ${threads}`, 'batch-llama.ts', [setting, threads]),
      )
    : []
  const all = [ours, ...peers]
  await race(all, { rounds, count, warmup: 8 })
  const speed = (who: Contestant): number => texts / who.median
  for (const who of all) {
    rows.push([String(texts), who.name, speed(who).toFixed(1), (who.median * 1e3).toFixed(1)])
    data[`${texts}, ${who.name}`] = who.rounds
  }
  speeds.set(texts, speed(ours))
  const best = Math.max(...peers.map(speed))
  const aim = aims[texts] === undefined ? '' : ` (aim: at least ${aims[texts]})`
  if (peers.length > 0)
    notes.push(`${texts} texts, speed over llama.cpp: ${(speed(ours) / best).toFixed(2)}${aim}`)
  for (const who of all) who.close()
}

const [one, many] = [speeds.get(1), speeds.get(16)]
if (one && many) notes.push(`16 texts over one: ${(many / one).toFixed(2)} (aim: at least 4)`)
report({ name: 'batch', setting: { model: decodingModel, type, prompt, count, rounds }, rows, notes, data })
