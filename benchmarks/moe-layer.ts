// Forward and backward of one MoE layer in f32, and in bf16 where the processor has it, against plain PyTorch (separate
// experts in a loop, and one padded batched product; each at 1 and 2 threads, the best counts), a skewed load, and how time
// and memory grow with T and E.

import { Contestant, pythonWithTorch } from './support/contestant.ts'
import { ProductLimits } from './support/limits.ts'
import { report } from './support/report.ts'

interface Shape {
  tokens: number
  hidden: number
  width: number
  experts: number
  topK: number
}

/** Each with the share of the limit that it is to reach; the whole step's in bf16. */
const shapes: { shape: Shape; aims: Record<'f32' | 'bf16', number> }[] = [
  { shape: { tokens: 4096, hidden: 512, width: 1024, experts: 8, topK: 2 }, aims: { f32: 88, bf16: 45 } },
  { shape: { tokens: 4096, hidden: 512, width: 256, experts: 64, topK: 8 }, aims: { f32: 70, bf16: 45 } },
  { shape: { tokens: 2048, hidden: 256, width: 512, experts: 8, topK: 2 }, aims: { f32: 75, bf16: 45 } },
]
const rounds = 7
const python = pythonWithTorch()
if (!python)
  console.log(
    'moe-layer: no Python with torch found (set PYTHON, or apt-get install python3-torch); peers left out',
  )

const limits = await ProductLimits.ready()

const ours = (name: string, shape: Shape, options: object = {}): Contestant =>
  Contestant.ours(name, 'moe-layer.ts', [JSON.stringify({ ...shape, ...options })])

type Dtype = 'f32' | 'bf16'
const dtypes: Dtype[] = limits.best('bf16') === null ? ['f32'] : ['f32', 'bf16']

const peers = (shape: Shape, dtype: Dtype): Contestant[] =>
  python
    ? ['loop', 'padded'].flatMap(way =>
        ['1', '2'].map(threads => {
          const config = JSON.stringify({ ...shape, dtype })
          const name = `PyTorch ${way}, ${dtype}, ${threads} threads`
          return Contestant.peer(name, python, 'moe_layer.py', [way, threads, config])
        }),
      )
    : []

/** Rounds by turns, with a look at the machine's own rate between them; the contestants' processes end. */
async function compete(contestants: readonly Contestant[], count: number): Promise<void> {
  limits.restart()
  for (const contestant of contestants) await (await contestant.ready()).round(2, { warmup: true })
  for (let round = 0; round < rounds; round++) {
    await limits.round(20)
    for (const contestant of contestants) await contestant.round(count)
  }
  for (const contestant of contestants) contestant.close()
}

/** Matrix products of forward and backward, the router's included. */
const flops = ({ tokens, hidden, width, experts, topK }: Shape): number =>
  18 * tokens * topK * hidden * width + 6 * tokens * hidden * experts

const temporaries = ({ rounds }: Contestant): number =>
  Math.max(...rounds.map(round => round.temporaries ?? 0))
const milliseconds = (seconds: number): string => (seconds * 1e3).toFixed(1)
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(0)
const label = ({ tokens, hidden, width, experts, topK }: Shape): string =>
  `T ${tokens}, d ${hidden}, ff ${width}, E ${experts} top-${topK}`

const rows = [['shape', 'who', 'ms', 'of the limit', 'memory, MB']]
const notes: string[] = []
const data: Record<string, unknown> = {}

/** One shape in one type; f32 has the skewed load and the reference path beside it. */
async function contest(shape: Shape, aim: number, dtype: Dtype): Promise<void> {
  const balanced = ours(`switchyard, ${dtype}`, shape, { dtype })
  const skewed = ours('switchyard, half of all tokens to expert 0', shape, { skewed: 0.5, dtype })
  const reference = dtype === 'f32' ? [ours('switchyard, reference path', shape, { reference: true })] : []
  const others = peers(shape, dtype)
  const all = [balanced, skewed, ...reference, ...others]
  await compete(all, 3)
  const limit = limits.best(dtype) ?? Number.NaN
  const share = (contestant: Contestant): number => (100 * flops(shape)) / contestant.median / limit
  for (const contestant of all) {
    const memory = temporaries(contestant)
    rows.push([
      contestant === balanced ? label(shape) : '',
      contestant.name,
      milliseconds(contestant.median),
      `${share(contestant).toFixed(0)}%`,
      memory > 0 ? megabytes(memory) : '',
    ])
  }
  const best = Math.min(...others.map(other => other.median))
  notes.push(
    `${label(shape)}, ${dtype}: ${share(balanced).toFixed(0)}% of the best library's products, ${(limit / 1e9).toFixed(0)} GFLOP/s (aim: ${aim}%); ` +
      `skewed over balanced ${(skewed.median / balanced.median).toFixed(2)} (aim: at most 1.15)` +
      (python
        ? `; ${(best / balanced.median).toFixed(2)} times as fast as the best PyTorch in ${dtype}`
        : ''),
  )
  data[`${label(shape)}, ${dtype}`] = Object.fromEntries(all.map(({ name, rounds }) => [name, rounds]))
}

for (const { shape, aims } of shapes) for (const dtype of dtypes) await contest(shape, aims[dtype], dtype)

/** How the time and memory of one kind of shape grow. */
async function curve(name: string, of: readonly Shape[]): Promise<void> {
  const contestants = of.map(shape => ours(label(shape), shape))
  await compete(contestants, 2)
  for (const [i, contestant] of contestants.entries()) {
    rows.push([
      i === 0 ? name : '',
      contestant.name,
      milliseconds(contestant.median),
      '',
      megabytes(temporaries(contestant)),
    ])
  }
  data[name] = Object.fromEntries(contestants.map(({ name, rounds }) => [name, rounds]))
}

const small = { hidden: 256, width: 512, experts: 8, topK: 2 }
await curve(
  'growing T',
  [512, 1024, 2048, 4096, 8192].map(tokens => ({ ...small, tokens })),
)
await curve(
  'growing E, the same T k',
  [8, 16, 32, 64, 128, 256].map(experts => ({ ...small, tokens: 4096, width: 256, experts })),
)

/** What routing, dispatch and combine add to the experts, forward. */
async function breakdown(shape: Shape): Promise<void> {
  const [layer, router, experts] = ['layer', 'router', 'experts'].map(forward =>
    ours(forward, shape, { forward }),
  ) as [Contestant, Contestant, Contestant]
  await compete([layer, router, experts], 10)
  const of = ({ median }: Contestant): string[] => [
    milliseconds(median),
    `${((100 * median) / layer.median).toFixed(0)}%`,
  ]
  const rest = layer.median - router.median - experts.median
  rows.push([`forward of ${label(shape)}`, 'layer', milliseconds(layer.median), '', ''])
  for (const part of [router, experts]) rows.push(['', `${part.name}, alone`, ...of(part), ''])
  rows.push([
    '',
    'dispatch and combine',
    milliseconds(rest),
    `${((100 * rest) / layer.median).toFixed(0)}%`,
    '',
  ])
  const added = (100 * (layer.median - experts.median)) / layer.median
  notes.push(
    `routing, dispatch and combine: ${added.toFixed(0)}% of the forward time of ${label(shape)} (aim: under 15%)`,
  )
  data[`forward of ${label(shape)}`] = Object.fromEntries(
    [layer, router, experts].map(({ name, rounds }) => [name, rounds]),
  )
}
await breakdown({ tokens: 2048, hidden: 256, width: 512, experts: 8, topK: 2 })

report({ name: 'moe-layer', setting: { shapes, rounds }, rows, notes, data })
limits.close()
