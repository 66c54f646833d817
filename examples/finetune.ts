// A model that is there learns questions and answers.
//   run: npx tsx examples/finetune.ts [MODEL] [--steps 250] [--out FOLDER]
// MODEL is a model folder with a tokenizer; without one it makes a tiny model.

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { finetuneRecipe, generateText, openModel, prepareConversations, train } from 'switchyard'
import { reciter } from './support/reciter.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { steps: { type: 'string', default: '250' }, out: { type: 'string' } },
})
const model = positionals[0] ?? (await reciter())
const work = mkdtempSync(join(tmpdir(), 'switchyard-'))
const out = values.out ?? join(work, 'run')

// Prompts with completions, one a line; { messages } would be written by the model's chat template.
const cargo = ['coal', 'grain', 'mail', 'sand', 'steel', 'timber']
const track = (i: number): string => `track ${1 + (i % cargo.length)}`
const [starts, ends] = [
  ['Where does', 'Which track takes', 'Tell me of', 'Send', 'What of'],
  ['?', ' today?', ' now?', ', please?'],
]
const lines = cargo.flatMap((name, i) =>
  starts.flatMap(start =>
    ends.map(end => JSON.stringify({ prompt: `${start} ${name}${end} `, completion: track(i) })),
  ),
)
writeFileSync(join(work, 'questions.jsonl'), lines.join('\n'))
const corpus = await prepareConversations({
  out: join(work, 'corpus'),
  paths: [join(work, 'questions.jsonl')],
  tokenizer: { kind: 'file', file: join(openModel(model).path, 'tokenizer.json') },
  validation: 0.2, // of the examples, to see whether it has understood
})

const recipe = finetuneRecipe({
  model,
  data: corpus.folder,
  overrides: [
    `steps=${values.steps}`,
    'optimizer.learningRate=3e-3',
    // 'trained=[attention, router]' would leave the rest as it is, 'adapter={ rank: 8, on: experts }' all of it.
    'data.sequenceLength=64',
    'data.batchSize=4',
  ],
})
for await (const event of train(recipe, { out })) {
  if (event.type === 'start') {
    const trained = event.trained.reduce((sum, part) => sum + part.trained, 0)
    console.log(`trains ${trained} of ${event.parameters} parameters`)
  }
  if (event.type === 'evaluation')
    console.log(
      `step ${event.step}: ${event.evaluation.loss.toFixed(3)} nats a token on questions it has not seen`,
    )
}

// A run opens as its best checkpoint.
const tuned = openModel(out)
const answering = tuned.load({ kind: 'text' })
const answer = async (prompt: string): Promise<string> => {
  let text = ''
  const options = { maxNewTokens: 12, temperature: 0 }
  for await (const piece of generateText(answering, tuned.tokenizer, prompt, options)) text += piece
  return text
}
for (const name of ['mail', 'steel']) {
  const question = `Where does ${name}? `
  console.log(`${question}${await answer(question)}`)
}
console.log(`the model is in ${tuned.path}`)
