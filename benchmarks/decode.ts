// Decoding on the CPU from a GGUF file's blocks, beside llama.cpp on the same file: tokens written after a short text and
// after a long one, a prompt read, and the time to open the file and write the first token. The limit of writing is how
// fast the weights that a token passes are read.
//   usage: decode.ts [ROUNDS] [WORDS...]: of the measurements those whose names have all of the words, as q8_0 prompt

import { Contestant, race } from './support/contestant.ts'
import type { DecodingTask } from './support/decoding.ts'
import { hasLlama } from './support/llama.ts'
import { report } from './support/report.ts'
import { bytesPerToken, decodingModel, storedModel } from './support/stored-model.ts'

const [roundsText = '7', ...words] = process.argv.slice(2)
const rounds = Number(roundsText)
const room = 64 * (rounds + 2) // of all rounds, with the one for warming up

interface Task extends DecodingTask {
  name: string
  /** Iterations of a round, and tokens of an iteration. */
  count: number
  tokens: number
  /** How many times llama.cpp's speed. */
  aim?: number
  /** The share of the limit, by type. */
  aimOfLimit?: Record<string, number>
}

const write = { kind: 'write', room, count: 64, tokens: 1 } as const
const tasks: Task[] = [
  { name: 'decode after 16 tokens', ...write, prompt: 16, aim: 2, aimOfLimit: { q8_0: 0.5 } },
  { name: 'prompt of 512 tokens', kind: 'read', room: 8, prompt: 512, count: 1, tokens: 512, aim: 3 },
  { name: 'open and first token', kind: 'open', room: 8, prompt: 16, count: 1, tokens: 1 },
  { name: 'decode after 8,192 tokens, kept in f16', ...write, prompt: 8192, kv: 'f16' },
]

const twoThreads = { SWITCHYARD_THREADS: '2' }
const mebibytes = 256 // that a read is of
const rows = [['weights', 'task', 'who', 'tokens/s', 'ms', 'of the read limit']]
const notes: string[] = []
const data: Record<string, unknown> = {}
if (!hasLlama) notes.push('llama.cpp is not there: scripts/bench.sh decode fetches it')

for (const type of ['q8_0', 'q4_0']) {
  const file = storedModel(type)
  for (const task of tasks)
    if (words.every(word => `${type} ${task.name}`.includes(word))) await measure(type, file, task)
}

report({
  name: 'decode',
  setting: { model: decodingModel, tasks, rounds, weights: 'drawnSource, seed 1, skew 0.5' },
  rows,
  notes,
  data,
})

/** One task of one file: all sides in turn, and reading memory with them. */
async function measure(type: string, file: string, task: Task): Promise<void> {
  console.log(`${type}, ${task.name}`)
  const setting = JSON.stringify({ file, vocab: decodingModel.vocab_size, task })
  const threads = ['1', '2']
  const ours = Contestant.ours('switchyard', 'decode.ts', [setting], twoThreads)
  const peers = hasLlama
    ? threads.map(count => Contestant.ours(`llama.cpp, threads: ${count}`, 'llama.ts', [setting, count]))
    : []
  const reading = Contestant.ours('reading memory', 'read.ts', [String(mebibytes)], twoThreads)
  const all = [ours, ...peers, reading]
  await race(all, { rounds, count: task.count, warmup: task.count })
  data[`${type}, ${task.name}`] = Object.fromEntries(all.map(who => [who.name, who.rounds]))
  const limit = (mebibytes * 2 ** 20) / reading.median / bytesPerToken(file)
  const before = notes.length
  for (const who of [ours, ...peers]) addRow(type, task, who, limit)
  addNotes(type, task, ours, peers, limit)
  for (const note of notes.slice(before)) console.log(`  ${note}`) // all of it takes minutes
  for (const who of all) who.close()
}

/** @param limit tokens per second if reading their weights were all */
function addRow(type: string, task: Task, who: Contestant, limit: number): void {
  const speed = task.tokens / who.median
  const share = task.kind === 'write' ? `${((100 * speed) / limit).toFixed(0)}%` : ''
  rows.push([type, task.name, who.name, speed.toFixed(1), (who.median * 1e3).toFixed(1), share])
}

/** Against llama.cpp at its best number of threads, and against the limit. */
function addNotes(
  type: string,
  task: Task,
  ours: Contestant,
  peers: readonly Contestant[],
  limit: number,
): void {
  const what = `${type}, ${task.name}`
  const best = Math.min(...peers.map(peer => peer.median))
  if (peers.length > 0)
    notes.push(`${what}, speed over llama.cpp: ${(best / ours.median).toFixed(2)}${aimed(task.aim)}`)
  if (task.kind !== 'write') return
  const share = task.tokens / ours.median / limit
  notes.push(`${what}, share of the read bandwidth: ${share.toFixed(2)}${aimed(task.aimOfLimit?.[type])}`)
}

function aimed(aim: number | undefined): string {
  return aim === undefined ? '' : ` (aim: at least ${aim})`
}
