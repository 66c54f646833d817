// The parts of a tokenizer.json that GGUF's metadata stands for.

/** An entry of `added_tokens`. */
export interface AddedToken {
  id: number
  content: string
  special: boolean
  single_word?: boolean
  lstrip?: boolean
  rstrip?: boolean
  normalized?: boolean
}

export interface BpeModel {
  type: string
  vocab: Record<string, number>
  /** Pairs, or in older files the two joined by a space. */
  merges: (string | [string, string])[]
  byte_fallback?: boolean
  unk_token?: string | null
}

export interface TokenizerJson {
  added_tokens?: AddedToken[]
  pre_tokenizer?: unknown
  post_processor?: unknown
  model: BpeModel
}

/** GGUF's kinds of tokens. */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const
