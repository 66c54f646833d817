// Opening a 1 GB model folder: mapped (stacked experts, as they are in memory) and copied (experts one by one), beside a
// plain sequential read of the same files in the same run.

import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  declareModel,
  openModel,
  openSource,
  parseModelConfig,
  saveModel,
  tokensOfSequences,
  writeModelFolder,
} from '../src/models/index.ts'
import { emptyCache, full, inferenceMode, tidy, zeros } from '../src/torch/index.ts'
import { median } from './support/contestant.ts'
import { report } from './support/report.ts'

const config = parseModelConfig(
  {
    model_type: 'mixtral',
    vocab_size: 4096,
    hidden_size: 1024,
    intermediate_size: 1024,
    num_hidden_layers: 9,
    num_attention_heads: 16,
    num_key_value_heads: 8,
    num_local_experts: 8,
  },
  'load',
)
const rounds = 5
const folder = mkdtempSync(join(tmpdir(), 'switchyard-load-'))
const [published, stacked] = [join(folder, 'published'), join(folder, 'stacked')]

function makeFolders(): void {
  const model = declareModel(config)
  for (const parameter of model.parameters()) parameter.make(full(parameter.shape, 0.01))
  writeFolder(model)
  model.dispose()
}

function writeFolder(model: Parameters<typeof saveModel>[1]): void {
  const made = join(folder, 'made')
  mkdirSync(made)
  saveModel(made, model, config)
  const source = openSource(made)
  writeModelFolder(published, source, { experts: 'published' })
  writeModelFolder(stacked, source, { experts: 'stacked' })
  rmSync(made, { recursive: true })
}

/** Resident memory of this process that is its own, in MB: mapped pages that were only read do not count. */
function ownMemory(): number {
  const text = readFileSync('/proc/self/status', 'utf8')
  return Number(/RssAnon:\s+(\d+)/.exec(text)?.[1] ?? 0) / 1024
}

function residentFile(): number {
  const text = readFileSync('/proc/self/status', 'utf8')
  return Number(/RssFile:\s+(\d+)/.exec(text)?.[1] ?? 0) / 1024
}

interface Opened {
  seconds: number
  own: number
  mapped: number
}

function open(path: string): Opened {
  const [own, mapped, start] = [ownMemory(), residentFile(), performance.now()]
  const model = openModel(path).load({ kind: 'decoder' })
  const seconds = (performance.now() - start) / 1000
  const result = { seconds, own: ownMemory() - own, mapped: residentFile() - mapped }
  model.dispose()
  return result
}

function readAll(path: string): number {
  const buffer = Buffer.alloc(1 << 22)
  const descriptor = openSync(path, 'r')
  const start = performance.now()
  while (readSync(descriptor, buffer, 0, buffer.length, null) > 0);
  closeSync(descriptor)
  return (performance.now() - start) / 1000
}

makeFolders()
tidy(() => void zeros([1]).add(1)) // loads the addon
const file = join(published, 'model.safetensors')
const size = statSync(file).size
readAll(file) // both files in the page cache, for all alike
readAll(join(stacked, 'model.safetensors'))

/** Opens a folder with no memory kept from before, as a new process does. */
function openAfresh(path: string): Opened {
  emptyCache()
  return open(path)
}

const all = Array.from({ length: rounds }, () => ({
  read: readAll(file),
  mapped: openAfresh(stacked),
  copied: openAfresh(published),
  again: open(published), // in the memory that the model before has left
}))
const model = openModel(stacked).load({ kind: 'decoder' })
const before = residentFile()
inferenceMode(() => tidy(() => void model.forward(tokensOfSequences([[1, 2, 3]]))))
const used = residentFile() - before
model.dispose()
rmSync(folder, { recursive: true })

const [read, mapped, copied, again] = [
  median(all.map(round => round.read)),
  median(all.map(round => round.mapped.seconds)),
  median(all.map(round => round.copied.seconds)),
  median(all.map(round => round.again.seconds)),
]
const gigabytes = (seconds: number): string => `${(size / seconds / 1e9).toFixed(2)} GB/s`

report({
  name: 'load',
  setting: { bytes: size, rounds, tensors: 'f32, in the page cache' },
  rows: [
    ['', 'median', '', 'own memory', 'mapped pages'],
    ['sequential read', `${(read * 1000).toFixed(0)} ms`, gigabytes(read), '', ''],
    [
      'opened, mapped',
      `${(mapped * 1000).toFixed(0)} ms`,
      '',
      `${median(all.map(round => round.mapped.own)).toFixed(0)} MB`,
      `${median(all.map(round => round.mapped.mapped)).toFixed(0)} MB`,
    ],
    [
      'opened, experts stacked',
      `${(copied * 1000).toFixed(0)} ms`,
      gigabytes(copied),
      `${median(all.map(round => round.copied.own)).toFixed(0)} MB`,
      `${median(all.map(round => round.copied.mapped)).toFixed(0)} MB`,
    ],
    ['the same, in memory kept', `${(again * 1000).toFixed(0)} ms`, gigabytes(again), '', ''],
  ],
  notes: [
    `mapped: ${(mapped * 1000).toFixed(0)} ms (aim: under 200); three tokens then touch ${used.toFixed(0)} MB of pages`,
    `copied: ${((read / copied) * 100).toFixed(0)}% of the speed of a sequential read (aim: 80%), ` +
      `${((read / again) * 100).toFixed(0)}% in memory kept; the read fills one small buffer again and again`,
  ],
  data: { rounds: all },
})
