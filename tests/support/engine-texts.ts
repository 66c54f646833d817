// Texts by an engine of a small model.
import { Engine, type EngineOptions, type TextPart, type TextRequest } from '../../src/engine/index.ts'
import { temporaryFolder } from './cli.ts'
import { writeServedModel } from './served-model.ts'

export const { folder, gguf } = writeServedModel(temporaryFolder())

export interface Written {
  text: string
  ids: number[]
  logprobs: number[]
  end: NonNullable<TextPart['end']>
}

export async function write(
  engine: Engine,
  request: TextRequest & { signal?: AbortSignal },
): Promise<Written> {
  const parts: TextPart[] = []
  for await (const part of engine.generate(request)) parts.push(part)
  const tokens = parts.flatMap(part => part.tokens)
  return {
    text: parts.map(part => part.text).join(''),
    ids: tokens.map(({ id }) => id),
    logprobs: tokens.map(({ probabilities }) => probabilities?.logprob ?? Number.NaN),
    end: parts.at(-1)?.end as Written['end'],
  }
}

export async function withEngine<T>(
  options: EngineOptions,
  use: (engine: Engine) => Promise<T>,
  path = gguf,
): Promise<T> {
  const engine = await Engine.open(path, options)
  try {
    return await use(engine)
  } finally {
    await engine.close()
  }
}

/** Ids of any text. */
export const ids = (length: number, seed: number): number[] =>
  Array.from({ length }, (_, i) => 3 + ((i * (7 + seed) + seed * seed + ((i * i) % 11)) % 250))

export const wanted = { temperature: 0, maxNewTokens: 200, stopIds: [], logprobs: 0 }

/** One after the other, with nobody beside them and nothing kept of earlier ones. */
export async function alone(requests: readonly TextRequest[], path?: string): Promise<Written[]> {
  const texts: Written[] = []
  for (const request of requests)
    texts.push(await withEngine({ texts: 1 }, engine => write(engine, request), path))
  return texts
}

export const withoutEnd = ({ text, ids, logprobs }: Written) => ({ text, ids, logprobs })
