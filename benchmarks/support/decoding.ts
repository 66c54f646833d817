// What benchmarks/decode.ts asks of its contestants, in words that both sides take as arguments.

/** What a round measures; it begins with a prompt that is read before, or as a part of it. */
export interface DecodingTask {
  /** `write`: tokens one by one, each round going on where the last one ended. */
  kind: 'write' | 'read' | 'open'
  /** Tokens of the prompt. */
  prompt: number
  /** Most tokens that all rounds write together. */
  room: number
  /** What our side keeps keys and values in. llama.cpp takes f16. Default: f32. */
  kv?: 'f16'
}

export interface DecodingSetting {
  file: string
  vocab: number
  task: DecodingTask
}

export const settingOf = (argument: string | undefined): DecodingSetting =>
  JSON.parse(argument ?? '{}') as DecodingSetting

/** The same ids on both sides; none is special. */
export function promptOf({ vocab, task }: DecodingSetting): number[] {
  return Array.from({ length: task.prompt }, (_, i) => 3 + ((7919 * i) % (vocab - 3)))
}

/** A text that does not repeat itself, the same on both sides. */
export function givenText({
  vocab,
  prompt,
  room,
}: {
  vocab: number
  prompt: number
  room: number
}): number[] {
  let state = 1
  return Array.from({ length: prompt + room }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return 3 + (state % (vocab - 3))
  })
}

/** Seconds of what runs. */
export async function secondsOf(run: () => unknown): Promise<number> {
  const start = performance.now()
  await run()
  return (performance.now() - start) / 1000
}
