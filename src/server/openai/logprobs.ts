// Probabilities of tokens as the OpenAI API has them: one shape for chat, another one for completions.

import type { Tokenizer } from '../../data/index.ts'
import type { PromptRead } from '../../engine/index.ts'
import type { WrittenToken } from '../../models/index.ts'

interface ChatToken {
  token: string
  logprob: number
  bytes: number[]
}

/** `choices[].logprobs` of chat; null where nobody asked. */
export function chatLogprobs(
  tokenizer: Tokenizer,
  tokens: readonly WrittenToken[],
): { content: (ChatToken & { top_logprobs: ChatToken[] })[]; refusal: null } | null {
  if (!tokens.some(token => token.probabilities)) return null
  const entry = (id: number, logprob: number): ChatToken => {
    const bytes = bytesOf(tokenizer, id)
    return { token: new TextDecoder().decode(bytes), logprob, bytes: [...bytes] }
  }
  const content = tokens.flatMap(({ id, probabilities }) =>
    probabilities
      ? {
          ...entry(id, probabilities.logprob),
          top_logprobs: probabilities.top.map(top => entry(top.id, top.logprob)),
        }
      : [],
  )
  return { content, refusal: null }
}

export interface CompletionLogprobs {
  tokens: string[]
  token_logprobs: (number | null)[]
  top_logprobs: (Record<string, number> | null)[]
  text_offset: number[]
}

/** `choices[].logprobs` of completions: of the prompt, where it is echoed, and of what was written. */
export function completionLogprobs(
  tokenizer: Tokenizer,
  prompt: PromptRead | null,
  tokens: readonly WrittenToken[],
  offset = 0,
): CompletionLogprobs {
  const read = (prompt?.ids ?? []).map((id, i) => ({ id, probabilities: prompt?.probabilities[i] ?? null }))
  const all = [...read, ...tokens.map(({ id, probabilities = null }) => ({ id, probabilities }))]
  const texts = all.map(({ id }) => tokenText(tokenizer, id))
  let at = offset
  return {
    tokens: texts,
    token_logprobs: all.map(({ probabilities }) => probabilities?.logprob ?? null),
    top_logprobs: all.map(({ probabilities }) =>
      probabilities
        ? Object.fromEntries(probabilities.top.map(({ id, logprob }) => [tokenText(tokenizer, id), logprob]))
        : null,
    ),
    text_offset: texts.map(text => {
      at += text.length
      return at - text.length
    }),
  }
}

/** A token's text; special ones by their name. */
export const tokenText = (tokenizer: Tokenizer, id: number): string =>
  new TextDecoder().decode(bytesOf(tokenizer, id))

function bytesOf(tokenizer: Tokenizer, id: number): Uint8Array {
  const bytes = tokenizer.isSpecial(id) ? undefined : tokenizer.idToBytes(id)
  return bytes ?? new TextEncoder().encode(tokenizer.decode([id]) || (tokenizer.idToToken(id) ?? ''))
}
