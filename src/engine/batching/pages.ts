// Pages of a cache: those that are free, those of texts, and those that keep a page of a prompt for whoever begins alike.

import { invariant } from '../../errors.ts'

/**
 * Tokens of a page. A prompt is read by pages that begin at multiples of it, and only whole pages are used again: sums of
 * attention go by how many tokens are read together, so that a text, to the last bit, depends on nothing but itself.
 */
export const pageTokens = 128

/** A page of a prompt, of which what came before is a part. */
export interface KeptPage {
  readonly page: number
  readonly before: KeptPage | null
  readonly tokens: string
  /** Pages that have followed it, by their tokens. */
  readonly after: Map<string, KeptPage>
  /** Texts that have it. One without any is given up when a page is needed, who was left longest ago first. */
  users: number
}

export class Pages {
  readonly count: number
  readonly #free: number[]
  /** First pages of prompts, by their tokens. */
  readonly #first = new Map<string, KeptPage>()
  /** Kept pages that no text has, in the order in which they were left. */
  readonly #idle = new Set<KeptPage>()

  constructor(count: number) {
    this.count = count
    this.#free = Array.from({ length: count }, (_, i) => count - 1 - i)
  }

  /** Pages that can be taken. */
  get room(): number {
    return this.#free.length + this.#idle.size
  }

  /** A page that nobody has any more; undefined when all belong to texts. */
  take(): number | undefined {
    return this.#free.pop() ?? this.#evict()
  }

  give(page: number): void {
    this.#free.push(page)
  }

  /** Kept pages that begin a prompt, of which one token at least is left: its scores are wanted. */
  find(prompt: readonly number[]): KeptPage[] {
    const found: KeptPage[] = []
    while ((found.length + 1) * pageTokens < prompt.length) {
      const next = this.#following(found.at(-1) ?? null).get(tokensOf(prompt, found.length))
      if (next === undefined) break
      found.push(next)
    }
    return found
  }

  /** Whether it would be given up if a page was needed. */
  isIdle(kept: KeptPage): boolean {
    return this.#idle.has(kept)
  }

  hold(kept: KeptPage): void {
    kept.users++
    this.#idle.delete(kept)
  }

  /** Of several pages the last first, so that what follows is given up before what it follows. */
  letGo(kept: KeptPage): void {
    kept.users--
    if (kept.users === 0) this.#idle.add(kept)
  }

  /**
   * Keeps the page that follows others of a prompt; who has read it holds it. Where the same is kept already, that is what
   * it gets, and the page is free.
   */
  keep(earlier: readonly KeptPage[], prompt: readonly number[], page: number): KeptPage {
    const before = earlier.at(-1) ?? null
    const tokens = tokensOf(prompt, earlier.length)
    const known = this.#following(before).get(tokens)
    if (known) this.give(page)
    const kept = known ?? { page, before, tokens, after: new Map(), users: 0 }
    if (!known) this.#following(before).set(tokens, kept)
    this.hold(kept)
    return kept
  }

  /** Forgets what is kept and no text has. */
  forget(): void {
    while (this.#idle.size > 0) this.give(this.#evict() as number)
  }

  #following(before: KeptPage | null): Map<string, KeptPage> {
    return before === null ? this.#first : before.after
  }

  #evict(): number | undefined {
    for (const kept of this.#idle) {
      if (kept.after.size > 0) continue
      this.#idle.delete(kept)
      this.#following(kept.before).delete(kept.tokens)
      return kept.page
    }
    invariant(this.#idle.size === 0, 'of pages that nobody has, one is the last')
    return undefined
  }
}

/** The tokens of a page of a prompt. */
const tokensOf = (prompt: readonly number[], page: number): string =>
  prompt.slice(page * pageTokens, (page + 1) * pageTokens).join()
