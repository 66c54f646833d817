#!/usr/bin/env node
// make demo: real text to a trained Mixture-of-Experts model and its dense twin, with the commands a user would type.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

process.chdir(resolve(dirname(fileURLToPath(import.meta.url)), '..'))
const colourful = process.stdout.isTTY && !process.env.NO_COLOR
const paint = code => text => (colourful ? `\u001b[${code}m${text}\u001b[0m` : text)
const [bold, dim, green] = [paint(1), paint(2), paint(32)]

const main = 'dist/cli/main.js'
const corpus = 'data/demo'
const runs = 'runs/demo'
const [moe, dense] = [`${runs}/moe`, `${runs}/dense`]
/** Says that the folder is the demo's, to be emptied by the next one. */
const marker = `${runs}/made-by-make-demo`
const started = Date.now()

/** Shows a command and runs it. */
function run(...args) {
  console.log(`\n${dim('$')} ${bold(`node ${main} ${args.map(quote).join(' ')}`)}`)
  return spawnSync(process.execPath, [main, ...args], { stdio: 'inherit' }).status === 0
}

const quote = text => (/^[\w./:=,-]+$/.test(text) ? text : `'${text}'`)

function require(success) {
  if (!success) process.exit(1)
}

function say(text) {
  console.log(`\n${green('==')} ${text}`)
}

function prepare() {
  if (existsSync(join(corpus, 'corpus.json'))) return say(`Text: ${corpus} is there from an earlier demo.`)
  say('Text: English essays, Go source code and French manuals, from Debian packages (nothing is installed).')
  const common = ['--out', corpus, '--tokenizer', 'bpe:2048']
  if (run('data', 'prepare', '--domains', 'en,code,fr', '--size', '2MB', ...common)) return
  say('No Debian packages to be had: the sample that ships with Switchyard will do.')
  require(run('data', 'prepare', '--sample', ...common))
}

/** Makes room for new runs; only what an earlier demo made is removed. */
function makeRoom() {
  if (existsSync(runs) && !existsSync(marker)) {
    console.error(`error: ${runs} is there and no demo made it: move it away`)
    process.exit(1)
  }
  if (existsSync(runs)) say(`Removing the runs of the last demo, ${runs}.`)
  rmSync(runs, { recursive: true, force: true })
  mkdirSync(runs, { recursive: true })
  writeFileSync(marker, '')
}

function train() {
  makeRoom()
  say('A Mixture of Experts: 8 experts per layer, 2 of them for each token.')
  require(run('train', 'recipes/demo.yaml', '--out', moe))
  say(
    'Its dense twin: one feed-forward as wide as the 2 experts a token uses, the same tokens in the same order.',
  )
  require(run('train', 'recipes/demo-dense.yaml', '--out', dense))
}

/** The best evaluation of a run and its speed. */
function summarize(folder) {
  const lines = readFileSync(join(folder, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  const evaluations = lines.flatMap(line => line.evaluation ?? [])
  const speeds = lines.flatMap(line => line.tokensPerSecond ?? []).sort((a, b) => a - b)
  const best = evaluations.reduce((a, b) => (b.loss < a.loss ? b : a))
  return { ...best, speed: speeds[speeds.length >> 1] ?? 0 }
}

/** Loss of knowing only how common each token is, per domain: the bar that any model of context must clear. */
function unigramEntropies() {
  const { domains } = JSON.parse(readFileSync(join(corpus, 'corpus.json'), 'utf8'))
  return new Map(domains.map(({ name, train }) => [name, train.unigramEntropy]))
}

function compare() {
  const [a, b] = [summarize(moe), summarize(dense)]
  const unigram = unigramEntropies()
  const weighted = a.domains.reduce((sum, { name, tokens }) => sum + tokens * unigram.get(name), 0) / a.tokens
  const twin = name => b.domains.find(domain => domain.name === name)?.loss ?? Number.NaN
  const rows = a.domains.map(({ name, loss }) => [name, unigram.get(name), twin(name), loss])
  say('Validation loss in nats per token. Unigram: knowing only how common each token is.')
  const cells = ['domain', 'unigram', 'dense twin', 'MoE']
  const line = values => values.map((value, i) => (i === 0 ? value.padEnd(8) : value.padStart(11))).join('')
  console.log(dim(line(cells)))
  for (const [name, ...values] of [...rows, ['all', weighted, b.loss, a.loss]]) {
    console.log(line([name, ...values.map(value => value.toFixed(3))]))
  }
  console.log(line(['tokens/s', '', ...[b, a].map(({ speed }) => Math.round(speed).toLocaleString('en'))]))
}

function next() {
  say(`Done in ${Math.round((Date.now() - started) / 1000)} s. What to type next:`)
  const commands = [
    [`generate ${moe} --prompt 'func main() {'`, 'more text'],
    [`eval ${moe} --data ${corpus}`, 'every validation token'],
    [`inspect ${moe}`, 'parameters, FLOPs, memory'],
    ['train recipes/demo.yaml --set router.k=4 --out runs/top-4', 'four experts per token'],
    ['data prepare --from YOUR_TEXT --out data/mine', 'your own text'],
  ]
  for (const [command, why] of commands) console.log(`  node ${main} ${command}  ${dim(`# ${why}`)}`)
}

prepare()
train()
compare()
say('What the MoE writes:')
require(run('generate', moe, '--prompt', 'The ', '--max-new-tokens', '60', '--seed', '1'))
require(run('generate', moe, '--prompt', 'func ', '--max-new-tokens', '60', '--seed', '1'))
next()
