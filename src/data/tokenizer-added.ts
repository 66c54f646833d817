// Special tokens that a tokenizer gets beside its own: for languages, and for spans that are to be filled in.

interface AddedToken {
  id: number
  content: string
}

interface TokenizerJson {
  added_tokens?: AddedToken[]
  model: { vocab: Record<string, number> | unknown[] }
}

/** The names of the tokens that stand for spans which are cut out, as T5 has them. */
export const sentinelNames = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `<extra_id_${i}>`)

/** A tokenizer.json with those of the tokens that it has not yet, after all others. They stand for no text. */
export function withSpecialTokens(json: string, names: readonly string[]): string {
  const tokenizer = JSON.parse(json) as TokenizerJson
  const { added_tokens: added = [], model } = tokenizer
  const known = new Set(added.map(({ content }) => content))
  const { vocab } = model
  const ids: number[] = Array.isArray(vocab) ? [vocab.length - 1] : Object.values(vocab)
  const last = [...ids, ...added.map(({ id }) => id)].reduce((most, id) => Math.max(most, id), -1)
  const more = [...new Set(names)]
    .filter(name => !known.has(name))
    .map((content, i) => ({ id: last + 1 + i, content, ...asSpecial }))
  return `${JSON.stringify({ ...tokenizer, added_tokens: [...added, ...more] }, undefined, 1)}\n`
}

const asSpecial = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
