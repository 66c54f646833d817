// QMoE's dictionary: 65,536 sequences of pairs of ternary symbols, the likeliest where a symbol is 0 with probability 0.885 and
// each of the others with half of the rest (arXiv:2310.16795, section 4.2; IST-DASLab/qmoe, sub1.py).

/** A pair is `3 first + second`, of symbols 0 (zero), 1 (the row's least) and 2 (its most). */
const pairs = 9
/** Pairs of a sequence at most. */
const longest = 14
const zeros = 0.885

/** Sequences in the order of their codes. Every beginning of one is one, so that a longest match is found pair by pair. */
export interface TernaryDictionary {
  /** Of each code the code of all but its last pair; -1 for a single pair. */
  before: Int32Array
  /** Of each code its last pair. */
  last: Uint8Array
  /** Of each code its number of pairs. */
  length: Uint8Array
  /** `[codes + 1, 9]`: the code of a sequence with another pair, -1 where there is none. The last row begins sequences. */
  next: Int32Array
}

let dictionary: TernaryDictionary | null = null

/** Made once, in a third of a second. */
export function ternaryDictionary(): TernaryDictionary {
  dictionary ??= makeDictionary(2 ** 16)
  return dictionary
}

/** A sequence that is yet to get a code. */
interface Candidate {
  probability: number
  /** Its pairs as text, by which those that are equally likely are ordered. */
  name: string
  before: number
}

/** Takes the likeliest sequence, adds those that have one pair more to the others, and so on. */
export function makeDictionary(codes: number): TernaryDictionary {
  const made: TernaryDictionary = {
    before: new Int32Array(codes),
    last: new Uint8Array(codes),
    length: new Uint8Array(codes),
    next: new Int32Array((codes + 1) * pairs).fill(-1),
  }
  const queue = new Queue()
  const addLonger = (probability: number, name: string, before: number): void => {
    if (name.length === longest) return
    for (const [pair, likely] of probabilities.entries())
      queue.add({ probability: probability * likely, name: `${name}${pair}`, before })
  }
  addLonger(1, '', -1)
  for (let code = 0; code < codes; code++) {
    const { probability, name, before } = queue.take()
    const pair = Number(name.at(-1))
    made.before[code] = before
    made.last[code] = pair
    made.length[code] = name.length
    made.next[(before === -1 ? codes : before) * pairs + pair] = code
    addLonger(probability, name, code)
  }
  return made
}

const symbols = [zeros, (1 - zeros) / 2, (1 - zeros) / 2]
const probabilities = symbols.flatMap(first => symbols.map(second => first * second))

const isBefore = (a: Candidate, b: Candidate): boolean =>
  a.probability > b.probability || (a.probability === b.probability && a.name < b.name)

/** A binary heap, the likeliest candidate first. */
class Queue {
  readonly #heap: Candidate[] = []

  add(candidate: Candidate): void {
    const heap = this.#heap
    let at = heap.push(candidate) - 1
    for (let parent = (at - 1) >> 1; at > 0; parent = (at - 1) >> 1) {
      if (!isBefore(candidate, heap[parent] as Candidate)) break
      heap[at] = heap[parent] as Candidate
      at = parent
    }
    heap[at] = candidate
  }

  take(): Candidate {
    const heap = this.#heap
    const first = heap[0] as Candidate
    const moved = heap.pop() as Candidate
    if (heap.length === 0) return first
    let at = 0
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      const [left, right] = [heap[child] as Candidate, heap[child + 1]]
      const [next, least] = right && isBefore(right, left) ? [child + 1, right] : [child, left]
      if (!isBefore(least, moved)) break
      heap[at] = least
      at = next
    }
    heap[at] = moved
    return first
  }
}
