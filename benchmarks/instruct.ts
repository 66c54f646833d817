// Instruction tuning of the demo's model on questions and answers that are built from its corpus: loss on answers to questions that it
// has not seen, before and after, and a dialogue. By the commands that a user has; `make demo` trains the model.
//   usage: instruct.ts [EPOCHS]

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { loadTokenizer, openCorpus } from '../src/data/index.ts'
import { tidy } from '../src/torch/index.ts'
import { TokenWindows } from '../src/train/index.ts'
import { report } from './support/report.ts'

const [epochs = '6'] = process.argv.slice(2)
const model = 'runs/demo/moe'
const place = 'build/benchmarks/instruct'
if (!existsSync(join(model, 'run.json'))) {
  console.error(`instruct: ${model} is missing: make demo trains it`)
  process.exit(1)
}

const text = openCorpus('data/demo')

/** Subjects of the corpus, as answers name them. */
const subjects: Record<string, string> = {
  en: 'an English book',
  fr: 'a French manual',
  code: 'a program in Go',
}

/** A question with its answer. */
interface Pair {
  question: string
  answer: string
}

/** Pieces of the corpus, as many of each domain: which subject they are of, and how they go on. */
async function pairs(perDomain: number): Promise<Pair[]> {
  const tokenizer = loadTokenizer(text.tokenizerFile)
  const windows = new TokenWindows(text.train, 40)
  const byDomain = text.domains.map((_, domain) =>
    Array.from({ length: windows.count }, (_, i) => i).filter(i => windows.firstDomain(i) === domain),
  )
  const found: Pair[] = []
  for (const [domain, places] of byDomain.entries())
    for (let i = 0; i < perDomain; i++) {
      const window = places[Math.floor((i * places.length) / perDomain)] ?? 0
      const ids = tidy(() => windows.batch([window]).inputs.flatten().tolist() as number[])
      const words = (await tokenizer.decode(ids)).split(/\s+/).slice(1) // the first is cut off, perhaps
      const [start, rest] = [words.slice(0, 6).join(' '), words.slice(6, 10).join(' ')]
      const subject = `It is from ${subjects[text.domains[domain] ?? ''] ?? text.domains[domain]}.`
      if (i % 2 === 0) found.push({ question: `What is this from: ${start}`, answer: subject })
      else if (rest !== '') found.push({ question: `Go on: ${start}`, answer: rest })
    }
  windows.dispose()
  return found
}

/** What a command prints. */
const switchyard = (...args: string[]): string =>
  execFileSync(process.execPath, ['dist/cli/main.js', ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 2 ** 28,
  })

rmSync(place, { recursive: true, force: true })
mkdirSync(place, { recursive: true })
const file = join(place, 'questions.jsonl')
const all = await pairs(1500)
writeFileSync(
  file,
  all
    .map(({ question, answer }) => ({
      messages: [
        { role: 'user', content: question },
        { role: 'assistant', content: answer },
      ],
    }))
    .map(line => `${JSON.stringify(line)}\n`)
    .join(''),
)

const tuned = join(place, 'run')
const settings = [
  '--epochs',
  epochs,
  '--learning-rate',
  '1e-3',
  '--validation',
  '0.1',
  '--set',
  'data.sequenceLength=128',
]
switchyard(
  'finetune',
  model,
  '--data',
  file,
  '--chat-template',
  'plain',
  '--out',
  tuned,
  '--quiet',
  ...settings,
)
const { data } = parse(readFileSync(join(tuned, 'recipe.yaml'), 'utf8')) as { data: { path: string } }
const lossOf = (path: string, corpus: string): number =>
  (JSON.parse(switchyard('eval', path, '--data', corpus, '--json')) as { loss: number }).loss
const losses = { before: lossOf(model, data.path), after: lossOf(tuned, data.path) }
const known = { before: lossOf(model, 'data/demo'), after: lossOf(tuned, 'data/demo') }
const asked = [
  'What is this from: return nil, fmt.Errorf("no such file")',
  'What is this from: les fichiers du répertoire sont',
  'What is this from: and the state of the working class',
  'Go on: if err != nil {',
]
const dialogue = asked.map(question => {
  const prompt = `user: ${question}\nassistant:`
  const { text } = JSON.parse(
    switchyard(
      'generate',
      tuned,
      '--prompt',
      prompt,
      '--temperature',
      '0',
      '--max-new-tokens',
      '20',
      '--json',
    ),
  ) as { text: string }
  return { question, answer: text.slice(text.startsWith(prompt) ? prompt.length : 0).trim() }
})

report({
  name: 'instruct',
  setting: { model, epochs, examples: all.length, heldOut: openCorpus(data.path).validation.tokens },
  rows: [
    ['nats per token', 'before', 'after'],
    ['answers to questions it has not seen', losses.before.toFixed(3), losses.after.toFixed(3)],
    ['text of the demo', known.before.toFixed(3), known.after.toFixed(3)],
  ],
  notes: [
    ...dialogue.map(({ question, answer }) => `user: ${question}\nassistant: ${answer}`),
    `loss on answers, after over before: ${(losses.after / losses.before).toFixed(2)} `,
  ],
  data: { losses, known, dialogue },
})
