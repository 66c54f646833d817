// Several texts at once, and what they come to: for n answers, or several prompts.

import type {
  PromptRead,
  RoutedTokens,
  TextEnd,
  TextEngine,
  TextPart,
  TextRequest,
} from '../../engine/index.ts'
import type { WrittenToken } from '../../models/index.ts'

/** A part of one of several texts. */
export interface AnswerPart extends TextPart {
  /** Number of the text. */
  index: number
}

/** A whole text. */
export interface Answer {
  text: string
  tokens: readonly WrittenToken[]
  prompt: PromptRead | null
  routing: RoutedTokens | null
  end: TextEnd
}

/** Parts of all texts as they come. When one fails or nobody reads on, all end. */
export async function* writeAll(
  engine: Pick<TextEngine, 'generate'>,
  requests: readonly TextRequest[],
  signal: AbortSignal,
): AsyncGenerator<AnswerPart, void> {
  const texts = requests.map(request => engine.generate({ ...request, signal }))
  const next = (index: number) => texts[index]?.next().then(result => ({ index, result }))
  const pending = new Map(texts.map((_, index) => [index, next(index)]))
  try {
    while (pending.size > 0) {
      const { index, result } = (await Promise.race(pending.values())) as {
        index: number
        result: IteratorResult<TextPart, void>
      }
      if (result.done) pending.delete(index)
      else {
        pending.set(index, next(index))
        yield { index, ...result.value }
      }
    }
  } finally {
    for (const one of pending.values()) one?.catch(() => undefined) // the first failure is the one that is told
    for (const text of texts) void text.return().catch(() => undefined)
  }
}

/** All texts, once they have ended. */
export async function collect(parts: AsyncIterable<AnswerPart>, count: number): Promise<Answer[]> {
  const answers = Array.from({ length: count }, () => ({
    text: '',
    tokens: [] as WrittenToken[],
    prompt: null as PromptRead | null,
    routing: null as RoutedTokens | null,
    end: null as TextEnd | null,
  }))
  for await (const { index, text, tokens, prompt, routing, end } of parts) {
    const answer = answers[index]
    if (!answer) continue
    answer.text += text
    answer.tokens.push(...tokens)
    answer.prompt = prompt ?? answer.prompt
    answer.routing = routing ? joined(answer.routing, routing) : answer.routing
    answer.end = end ?? answer.end
  }
  return answers as Answer[]
}

const joined = (before: RoutedTokens | null, { layers, tokens }: RoutedTokens): RoutedTokens => ({
  layers,
  tokens: [...(before?.tokens ?? []), ...tokens],
})

/** What an answer says beyond OpenAI's fields where a request has the field `switchyard`, or a piece of it in a stream. */
export function extensionOf(
  request: { switchyard?: object | undefined },
  { routing, end }: { routing?: RoutedTokens | null | undefined; end?: TextEnd | undefined },
): { switchyard?: object } {
  if (request.switchyard === undefined || !(routing || end)) return {}
  const isLate = end?.reason === 'deadline'
  return {
    switchyard: {
      ...(routing && { routing }),
      ...(end && { seconds: end.seconds }),
      ...(isLate && { ended_by: 'deadline' }),
    },
  }
}

/** Why a text ended, in OpenAI's words. */
export function finishReason({ reason }: TextEnd): 'stop' | 'length' | 'abort' {
  if (reason === 'aborted') return 'abort'
  return isWhole({ reason }) ? 'stop' : 'length'
}

/** Whether a text has ended by itself. */
export const isWhole = ({ reason }: Pick<TextEnd, 'reason'>): boolean =>
  reason === 'end-of-text' || reason === 'stop-text'

export interface Usage {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
  prompt_tokens_details: { cached_tokens: number }
  completion_tokens_details?: { reasoning_tokens: number }
}

/** @param each how many answers there are to each prompt, which counts once */
export function usageOf(ends: readonly TextEnd[], each: number): Usage {
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
  const firsts = ends.filter((_, i) => i % each === 0)
  const prompt = sum(firsts.map(end => end.promptTokens))
  const written = sum(ends.map(end => end.newTokens))
  return {
    prompt_tokens: prompt,
    completion_tokens: written,
    total_tokens: prompt + written,
    prompt_tokens_details: { cached_tokens: sum(firsts.map(end => end.cachedTokens)) },
  }
}
