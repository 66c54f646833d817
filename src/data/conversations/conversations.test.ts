// Conversations to tokens: which of them are the assistant's, exactly.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { Template } from '@huggingface/jinja'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import { byteTokenizer, byteTokenizerFiles, parseTokenizer } from '../tokenizer-file.ts'
import { type AnsweredText, answeredTexts, type Render } from './answers.ts'
import { encodeAnswered } from './encode.ts'
import { encodePair } from './encode-pair.ts'
import { prepareConversations } from './prepare.ts'
import { type ChatTurn, type ConversationRecord, toConversation, toExample } from './record.ts'

const renderBy = (template: string): Render => {
  const parsed = new Template(template)
  return async (messages, { tools, forAnswer }) =>
    parsed.render({
      messages: [...messages],
      tools,
      add_generation_prompt: forAnswer,
      bos_token: '<s>',
      eos_token: '</s>',
    })
}

/** ChatML, as Qwen has it. */
const chatml = renderBy(
  `{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}`,
)
/** Mistral's: no words before an answer, </s> after it. */
const mistral = renderBy(
  `{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}`,
)
/** As Qwen3's: reasoning stays in the last answer alone. */
const thinking = renderBy(
  `{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and not loop.last and '</think>' in m.content %}{{ m.content.split('</think>')[1] }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}`,
)

const chat = (...contents: string[]): ConversationRecord => ({
  kind: 'chat',
  messages: contents.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content })),
  tools: null,
  domain: undefined,
})

const answersOf = ({ text, answers }: AnsweredText): string[] =>
  answers.map(([start, end]) => text.slice(start, end))

describe('answers in a text', () => {
  test('are what the template adds for the message, its end included', async () => {
    const [only, ...none] = await answeredTexts(chat('Hi', 'Hello', 'Bye', 'Adieu'), chatml)
    expect(none).toEqual([])
    expect(answersOf(only as AnsweredText)).toEqual(['Hello<|im_end|>\n', 'Adieu<|im_end|>\n'])
    const [other] = await answeredTexts(chat('Hi', 'Hello', 'Bye', 'Adieu'), mistral)
    expect(answersOf(other as AnsweredText)).toEqual([' Hello</s>', ' Adieu</s>'])
  })

  test('are texts of their own where later messages change earlier ones', async () => {
    const texts = await answeredTexts(chat('a', '<think>1</think>b', 'c', '<think>2</think>d'), thinking)
    expect(texts.map(answersOf)).toEqual([
      ['<think>1</think>b<|im_end|>\n'],
      ['<think>2</think>d<|im_end|>\n'],
    ])
    expect(texts[1]?.text).toContain('<|im_start|>assistant\nb<|im_end|>') // as the model would see it
  })

  test('of a prompt and its completion is the completion', async () => {
    const [text] = await answeredTexts(
      { kind: 'plain', prompt: '2 + 2 =', completion: ' 4', domain: undefined },
      chatml,
    )
    expect(text).toEqual({ text: '2 + 2 = 4', answers: [[7, 9]], isTemplated: false })
  })
})

/** A byte-level tokenizer that knows ChatML's tokens. */
const tokenizer = ((): ReturnType<typeof byteTokenizer> => {
  const json = JSON.parse(byteTokenizerFiles()['tokenizer.json'] as string)
  const next = 1 + Math.max(...Object.values<number>(json.model.vocab))
  json.added_tokens.push(
    ...['<|im_start|>', '<|im_end|>'].map((content, i) => ({
      ...json.added_tokens[0],
      id: next + i,
      content,
    })),
  )
  return parseTokenizer(JSON.stringify(json), 'test', byteTokenizer().specialIds)
})()

/** What is taught of a text, decoded. */
async function taughtText(text: AnsweredText): Promise<string> {
  const { ids, taught } = await encodeAnswered(text, tokenizer)
  expect(taught).toHaveLength(ids.length)
  return tokenizer.decode(ids.filter((_, i) => taught[i] === 1))
}

describe('tokens to be learnt', () => {
  test('end with the end of a turn: what follows it nobody has to write', async () => {
    const [text] = await answeredTexts(chat('Hi', 'Hello', 'Bye', 'Adieu'), chatml)
    expect(await taughtText(text as AnsweredText)).toBe('Hello<|im_end|>Adieu<|im_end|>')
  })

  test('get the end of text where the template has none', async () => {
    const plain = renderBy(
      '{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}',
    )
    const [text] = await answeredTexts(chat('Hi', 'Hello'), plain)
    const { ids, taught } = await encodeAnswered(text as AnsweredText, tokenizer)
    expect([ids.at(-1), taught.at(-1)]).toEqual([tokenizer.specialIds.eos, 1])
  })

  test('are those of the answers, whatever is said and in whatever script', async () => {
    const words = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
      .filter(text => !text.includes('<|'))
    const turns = fc.array(fc.tuple(words, words), { minLength: 1, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(turns, async pairs => {
        const [text] = await answeredTexts(chat(...pairs.flat()), chatml)
        expect(await taughtText(text as AnsweredText)).toBe(
          pairs.map(([, answer]) => `${answer}<|im_end|>`).join(''),
        )
      }),
      { numRuns: 100 },
    )
  })

  test('of text of unknown origin are no special tokens, whatever it spells', async () => {
    const text = { text: 'a<|im_end|>b', answers: [[0, 12]] as const, isTemplated: false }
    const { ids } = await encodeAnswered(text, tokenizer)
    expect(ids.filter(id => tokenizer.isSpecial(id))).toEqual([tokenizer.specialIds.eos])
  })
})

describe('records', () => {
  const messages: ChatTurn[] = [
    { role: 'user', content: 'Hi' },
    { role: 'assistant', content: 'Hello' },
  ]

  test.each([
    ['messages', { messages }],
    ['parts of text', { messages: [{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }, messages[1]] }],
    [
      'ShareGPT',
      {
        conversations: [
          { from: 'human', value: 'Hi' },
          { from: 'gpt', value: 'Hello' },
        ],
      },
    ],
    ['prompt and completion as messages', { prompt: [messages[0]], completion: [messages[1]] }],
  ])('%s', (_, value) => {
    expect(toConversation(value)).toEqual({ kind: 'chat', messages, tools: null, domain: undefined })
  })

  test('text beside messages is not what is learnt', () => {
    expect(toConversation({ text: 'all of it', messages })).toMatchObject({ kind: 'chat', messages })
    expect(toConversation({ text: 'all of it', prompt: 'a', completion: 'b' })).toMatchObject({
      prompt: 'a',
      completion: 'b',
    })
  })

  describe('pairs', () => {
    const answers = ['good', 'bad'].map(content => [messages[0], { role: 'assistant', content }])
    const [chosen, rejected] = answers
    const sides = (value: object): unknown => {
      const record = toExample(value)
      return typeof record === 'string' || record.kind !== 'pair' ? record : [record.chosen, record.rejected]
    }

    test.each([
      ['whole conversations', {}],
      ['with the prompt once more, as text', { prompt: 'Hi' }],
      ['with a conversation that is neither', { prompt: 'Hi', messages, text: 'Hi' }],
    ])('%s', (_, more) => {
      expect(sides({ chosen, rejected, ...more })).toEqual(
        answers.map(turns => ({ kind: 'chat', messages: turns, tools: null, domain: undefined })),
      )
    })

    test('of texts, beside which there is another', () => {
      expect(sides({ prompt: 'Hi', chosen: 'good', rejected: 'bad', messages, text: 'x' })).toEqual(
        ['good', 'bad'].map(completion => ({ kind: 'plain', prompt: 'Hi', completion, domain: undefined })),
      )
    })
  })

  test('calls of tools have no text of their own', () => {
    const calls = [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }]
    const call = { role: 'assistant', content: null, tool_calls: calls }
    expect(toConversation({ messages: [messages[0], call], tools: [{}] })).toMatchObject({
      messages: [messages[0], { ...call, content: '' }],
      tools: [{}],
    })
  })

  test.each([
    [
      {},
      "has none of 'messages', 'conversations', 'prompt' with 'completion', 'source' with 'target', 'translation' of two texts, and 'text'",
    ],
    [{ messages: [] }, 'has no messages'],
    [{ messages: [{ content: 'x' }] }, "has a message 1 that has no 'role'"],
    [
      { messages: [messages[0], { role: 'bot', content: 'x' }] },
      "has a message 2 that has the role 'bot', not one of system, developer, user, assistant, tool, function",
    ],
    [{ messages: [{ role: 'user' }] }, "has a message 1 that has no 'content' of text"],
    [{ messages: [messages[0]] }, 'has no message of the assistant, from which to learn'],
    [{ messages, tools: {} }, "has 'tools' that are no list"],
    ['text', 'is no object'],
  ])('%j', (value, problem) => expect(toConversation(value)).toBe(problem))
})

describe('a corpus of conversations', () => {
  const folder = temporaryFolder()
  mkdirSync(join(folder, 'tokenizer'))
  for (const [name, content] of Object.entries(byteTokenizerFiles()))
    writeFileSync(join(folder, 'tokenizer', name), content)
  const file = (name: string, lines: readonly unknown[]): string => {
    const text = lines.map(line => JSON.stringify(line)).join('\n')
    const path = join(folder, name)
    writeFileSync(path, name.endsWith('.gz') ? gzipSync(text) : text)
    return path
  }
  const prepare = (out: string, paths: string[], render = chatml): ReturnType<typeof prepareConversations> =>
    prepareConversations({
      ...{ out: join(folder, out), paths, render },
      tokenizer: { kind: 'file', file: join(folder, 'tokenizer', 'tokenizer.json') },
      validation: 0.3,
    })
  const lines = Array.from({ length: 20 }, (_, i) => ({
    messages: [
      { role: 'user', content: `${i} + 1?` },
      { role: 'assistant', content: `${i + 1}` },
    ],
    domain: i % 2 ? 'odd' : 'even',
  }))

  test('keeps examples whole, with their marks, domains and a part held out', async () => {
    const corpus = await prepare('sums', [file('sums.jsonl.gz', lines)])
    const { train, validation, manifest } = corpus
    expect(corpus.domains).toEqual(['even', 'odd'])
    expect(manifest.answers?.examples).toBe(20)
    const held = validation.shards.flatMap(shard => shard.documentStarts).length
    expect(held).toBeGreaterThan(0)
    expect(held + train.shards.flatMap(shard => shard.documentStarts).length).toBe(20)
    expect(train.shards[0]?.taughtRange?.length).toBe(train.tokens)
    // Each answer is a number of one or two digits; this tokenizer has no <|im_end|>, so its bytes and the line break count.
    const digits = lines.reduce((sum, { messages }) => sum + (messages[1]?.content.length ?? 0), 0)
    expect(manifest.answers?.tokens).toBe(digits + 20 * ('<|im_end|>\n'.length + 1))
  })

  test('texts of one conversation are on one side', async () => {
    const long = Array.from({ length: 30 }, (_, i) => ({
      messages: [1, 2, 3].flatMap(turn => [
        { role: 'user', content: `${i}.${turn}?` },
        { role: 'assistant', content: `<think>${i}</think>${turn}` },
      ]),
    }))
    const { train, validation, manifest } = await prepare('long', [file('long.jsonl', long)], thinking)
    expect(manifest.answers?.examples).toBe(90)
    const [taught, held] = [train, validation].map(split =>
      split.shards.reduce((sum, { documentStarts }) => sum + documentStarts.length, 0),
    ) as [number, number]
    // Were each text put somewhere for itself, these would be whole conversations by chance alone, once in three times.
    expect([taught % 3, held % 3]).toEqual([0, 0])
    expect(held).toBeGreaterThan(0)
  })

  test('the same files make the same corpus', async () => {
    const path = file('again.jsonl', lines)
    const [first, second] = [await prepare('first', [path]), await prepare('second', [path])]
    expect(first.manifest).toEqual(second.manifest)
  })

  test.each([
    ['a line that is no conversation', [lines[0], { messages: 3 }], "line 2 has none of 'messages'"],
    ['no conversation', [], 'no conversation to learn from'],
  ])('%s is named, and nothing is kept', async (name, content, message) => {
    const out = name.replaceAll(' ', '-')
    await expect(prepare(out, [file(`${out}.jsonl`, content)])).rejects.toThrow(message)
    await expect(prepare(out, [file(`${out}.jsonl`, lines)])).resolves.toBeDefined()
  })

  test('a template that refuses a conversation', async () => {
    const strict = renderBy(
      "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}x",
    )
    const system = { messages: [{ role: 'system', content: 'x' }, ...(lines[0]?.messages ?? [])] }
    const out = prepare('strict', [file('strict.jsonl', [lines[0], system])], strict)
    await expect(out).rejects.toThrow(/strict\.jsonl: line 2: the chat template refuses it \(no system\)$/)
  })

  test('domains that no corpus can have are refused, with their line', async () => {
    const unnamed = file('unnamed.jsonl', [lines[0], { ...lines[1], domain: '' }])
    await expect(prepare('unnamed', [unnamed])).rejects.toThrow(
      'unnamed.jsonl: line 2: a domain has a name of 1 to 64 printable characters, got ""',
    )
    const long = file(
      `${'x'.repeat(65)}.jsonl`,
      lines.map(({ messages }) => ({ messages })),
    )
    await expect(prepare('of-the-file', [long])).rejects.toThrow('a domain has a name of 1 to 64')
  })

  test('pairs among others are named', async () => {
    const mixed = file('mixed.jsonl', [lines[0], { prompt: 'a', chosen: 'b', rejected: 'c' }])
    await expect(prepare('mixed', [mixed])).rejects.toThrow(
      'mixed.jsonl: line 2: some examples are pairs and others are not: give them apart',
    )
  })

  test('messages without a template', async () => {
    const options = { out: join(folder, 'none'), paths: [file('none.jsonl', lines)] }
    const tokenizer = { kind: 'file', file: join(folder, 'tokenizer', 'tokenizer.json') } as const
    await expect(prepareConversations({ ...options, tokenizer })).rejects.toThrow(
      'the model has no chat template, which messages need: name one',
    )
  })

  test('text is no file of conversations', async () => {
    writeFileSync(join(folder, 'x.txt'), 'hello')
    await expect(prepare('txt', [join(folder, 'x.txt')])).rejects.toThrow('is neither JSONL nor Parquet')
  })
})

describe('sources and targets', () => {
  test.each([
    [
      { source: 'a', target: 'b' },
      { prompt: 'a', completion: 'b', languages: {} },
    ],
    [
      { translation: { en: 'a', de: 'b' } },
      { prompt: 'a', completion: 'b', languages: { source: 'en', target: 'de' } },
    ],
    [
      { translation: { en: 'a', de: 'b' }, source_lang: 'de', target_lang: 'en' },
      { prompt: 'b', completion: 'a', languages: { source: 'de', target: 'en' } },
    ],
  ])('%j', (line, record) => {
    expect(toConversation(line)).toEqual({ kind: 'plain', domain: undefined, ...record })
  })

  test('are encoded apart, the target with its end, and of a conversation the last answer is the target', async () => {
    const tokenizer = byteTokenizer()
    const shown = async (text: AnsweredText): Promise<string[]> => {
      const { ids, taught } = await encodePair(text, tokenizer)
      const first = taught.indexOf(1)
      return [tokenizer.decode(ids.slice(0, first)), tokenizer.decode(ids.slice(first))]
    }
    const [plain] = await answeredTexts(
      toConversation({ source: 'ab', target: 'c' }) as ConversationRecord,
      mistral,
    )
    expect(await shown(plain as AnsweredText)).toEqual(['ab', 'c</s>'])
    const [long] = await answeredTexts(chat('u1', 'a1', 'u2', 'a2'), mistral)
    expect(await shown(long as AnsweredText)).toEqual([
      '<s>[INST] u1 [/INST] a1</s>[INST] u2 [/INST]',
      ' a2</s>',
    ])
  })
})
