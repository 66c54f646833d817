// Pairs of sources and targets that cannot be read leave nothing behind.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../tests/support/cli.ts'
import { expectNoLeak } from '../../tests/support/tensors.ts'
import { byteTokenizerFiles, prepareConversations } from '../data/index.ts'
import { PairRows } from './pair-rows.ts'

test('examples without a source, and long ones, are refused, and no file stays mapped', async () => {
  const folder = temporaryFolder()
  for (const [name, content] of Object.entries(byteTokenizerFiles()))
    writeFileSync(join(folder, name), content)
  const corpusOf = async (
    lines: readonly unknown[],
    out: string,
  ): ReturnType<typeof prepareConversations> => {
    const file = join(folder, `${out}.jsonl`)
    writeFileSync(file, lines.map(line => JSON.stringify(line)).join('\n'))
    const tokenizer = { kind: 'file', file: join(folder, 'tokenizer.json') } as const
    return prepareConversations({
      out: join(folder, out),
      paths: [file],
      tokenizer,
      apart: true,
      validation: 0,
    })
  }
  const texts = await corpusOf([{ text: 'a' }], 'texts')
  const pairs = await corpusOf([{ source: 'abc', target: 'd' }], 'pairs')
  expectNoLeak(() => {
    expect(() => new PairRows(texts.train, 8, 'cut')).toThrow('1 of 1 examples have nothing to read')
    expect(() => new PairRows(pairs.train, 2, 'refuse')).toThrow('1 of 1 pairs have a side longer than')
    expect(() => new PairRows(pairs.train, 2, 'drop')).toThrow('leaves no pair of the train split')
    new PairRows(pairs.train, 8, 'cut').dispose()
  })
})
