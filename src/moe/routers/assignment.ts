// Balanced assignment: every expert gets the same number of tokens, and the scores sum highest.

/** Scores of T tokens for E experts, row-major. */
export interface AssignmentProblem {
  scores: Float64Array
  tokens: number
  experts: number
}

/**
 * Bertsekas' auction, experts buying tokens (BASE, arXiv:2103.16716; its code's constants): each expert bids for the
 * tokens it wants most, up to its share, `value - (share+1)-th value + eps`; the highest bidder takes the token and its
 * price rises. The result is within `T eps` of the optimum when it ends by itself, which takes eps into account;
 * after `maxRounds` what is left is handed out greedily
 * (BASE: 100).
 *
 * @returns each token's expert; counts differ by at most one
 */
export function auctionAssignment(
  { scores, tokens, experts }: AssignmentProblem,
  maxRounds = 1000,
): Int32Array {
  const finite = withoutInfinities(scores)
  const shares = evenShares(tokens, experts)
  const eps = Math.max(1e-4, spread(finite) / 50)
  const owner = new Int32Array(tokens).fill(-1)
  const market: Market = {
    scores: finite,
    experts,
    price: new Float64Array(tokens),
    owner,
    values: new Float64Array(tokens),
    ranked: new Float64Array(tokens),
  }
  for (let round = 0; round < maxRounds; round++) {
    const owned = countOwned(owner, experts)
    let bids = 0
    for (let e = 0; e < experts; e++) {
      const missing = (shares[e] ?? 0) - (owned[e] ?? 0)
      if (missing > 0) bids += bid(market, e, missing, eps)
    }
    if (bids === 0 || owner.every(e => e >= 0)) break
  }
  return handOut(finite, experts, shares, owner)
}

/** What an auction moves: prices and owners of tokens, and room to work in. */
interface Market {
  scores: Float64Array
  experts: number
  price: Float64Array
  owner: Int32Array
  values: Float64Array
  ranked: Float64Array
}

/** Expert e takes its `missing` most valuable tokens among those it does not own, at raised prices. */
function bid(market: Market, e: number, missing: number, eps: number): number {
  const { scores, experts, price, owner, values, ranked } = market
  for (let t = 0; t < owner.length; t++) {
    const isOwn = owner[t] === e
    values[t] = isOwn ? Number.NEGATIVE_INFINITY : (scores[t * experts + e] ?? 0) - (price[t] ?? 0)
  }
  ranked.set(values)
  const reserve = missing < ranked.length ? nthLargest(ranked, missing) : Number.NEGATIVE_INFINITY
  let bought = 0
  const buy = (t: number): void => {
    const raise = reserve === Number.NEGATIVE_INFINITY ? eps : (values[t] ?? 0) - reserve + eps
    price[t] = (price[t] ?? 0) + raise
    owner[t] = e
    bought++
  }
  for (let t = 0; t < values.length; t++) if ((values[t] ?? 0) > reserve) buy(t)
  for (let t = 0; t < values.length && bought < missing; t++) {
    if (values[t] === reserve && reserve !== Number.NEGATIVE_INFINITY) buy(t) // as many of the equal ones as there is room for
  }
  return bought
}

/** The element that n others exceed or equal (Hoare's selection); reorders the array. */
function nthLargest(values: Float64Array, n: number): number {
  let [low, high] = [0, values.length - 1]
  while (low < high) {
    const pivot = values[(low + high) >> 1] ?? 0
    let [i, j] = [low, high]
    while (i <= j) {
      while ((values[i] ?? 0) > pivot) i++
      while ((values[j] ?? 0) < pivot) j--
      if (i > j) break
      const swapped = values[i] ?? 0
      values[i++] = values[j] ?? 0
      values[j--] = swapped
    }
    if (n <= j) high = j
    else if (n >= i) low = i
    else break
  }
  return values[n] ?? Number.NEGATIVE_INFINITY
}

/** Tokens without an owner go to the expert with room that scores them highest; owners keep at most their share. */
function handOut(scores: Float64Array, experts: number, shares: Int32Array, owner: Int32Array): Int32Array {
  const room = shares.slice()
  for (const [t, e] of owner.entries()) {
    if (e < 0) continue
    if ((room[e] ?? 0) > 0) room[e] = (room[e] ?? 0) - 1
    else owner[t] = -1
  }
  for (const [t, e] of owner.entries()) {
    if (e >= 0) continue
    let best = -1
    for (let candidate = 0; candidate < experts; candidate++) {
      const isBetter = best < 0 || (scores[t * experts + candidate] ?? 0) > (scores[t * experts + best] ?? 0)
      if ((room[candidate] ?? 0) > 0 && isBetter) best = candidate
    }
    owner[t] = best
    room[best] = (room[best] ?? 0) - 1
  }
  return owner
}

/**
 * The optimum, by shortest augmenting paths (the Hungarian method with potentials) over tokens and expert places.
 * Cubic in T: for small problems, and to check the auction.
 */
export function exactAssignment({ scores, tokens, experts }: AssignmentProblem): Int32Array {
  const shares = evenShares(tokens, experts)
  const expertOfPlace = Array.from(shares).flatMap((share, e) => new Array<number>(share).fill(e))
  const cost = (t: number, place: number): number => -(scores[t * experts + (expertOfPlace[place] ?? 0)] ?? 0)
  const tokenOfPlace = hungarian(tokens, cost)
  const owner = new Int32Array(tokens)
  for (const [place, t] of tokenOfPlace.entries()) owner[t] = expertOfPlace[place] ?? 0
  return owner
}

/** Minimum-cost perfect matching of n rows and n columns: each column's row. */
function hungarian(n: number, cost: (row: number, column: number) => number): number[] {
  const rowPotential = new Float64Array(n + 1)
  const columnPotential = new Float64Array(n + 1)
  const rowOf = new Int32Array(n + 1).fill(-1) // column n is where each search starts
  for (let row = 0; row < n; row++) {
    const distance = new Float64Array(n + 1).fill(Number.POSITIVE_INFINITY)
    const previous = new Int32Array(n + 1).fill(n)
    const visited = new Uint8Array(n + 1)
    let column = n
    rowOf[n] = row
    do {
      visited[column] = 1
      const current = rowOf[column] ?? 0
      let delta = Number.POSITIVE_INFINITY
      let next = n
      for (let j = 0; j < n; j++) {
        if (visited[j]) continue
        const reduced = cost(current, j) - (rowPotential[current] ?? 0) - (columnPotential[j] ?? 0)
        if (reduced < (distance[j] ?? 0)) {
          distance[j] = reduced
          previous[j] = column
        }
        if ((distance[j] ?? 0) < delta) {
          delta = distance[j] ?? 0
          next = j
        }
      }
      for (let j = 0; j <= n; j++) {
        if (visited[j]) {
          const visitedRow = rowOf[j] ?? 0
          rowPotential[visitedRow] = (rowPotential[visitedRow] ?? 0) + delta
          columnPotential[j] = (columnPotential[j] ?? 0) - delta
        } else distance[j] = (distance[j] ?? 0) - delta
      }
      column = next
    } while ((rowOf[column] ?? -1) >= 0)
    while (column !== n) {
      const before = previous[column] ?? n
      rowOf[column] = rowOf[before] ?? -1
      column = before
    }
  }
  return Array.from(rowOf.subarray(0, n))
}

/** What an assignment is worth. */
export function assignmentScore({ scores, experts }: AssignmentProblem, owner: Int32Array): number {
  return owner.reduce((sum, e, t) => sum + (scores[t * experts + e] ?? 0), 0)
}

/** T / E each, the first T mod E experts one more. */
export function evenShares(tokens: number, experts: number): Int32Array {
  return Int32Array.from(
    { length: experts },
    (_, e) => Math.floor(tokens / experts) + (e < tokens % experts ? 1 : 0),
  )
}

/** What is not finite counts as the least finite score, as BASE has it. */
function withoutInfinities(scores: Float64Array): Float64Array {
  let least = Number.POSITIVE_INFINITY
  for (const score of scores) if (Number.isFinite(score) && score < least) least = score
  return scores.map(score => (Number.isFinite(score) ? score : Number.isFinite(least) ? least : 0))
}

function spread(scores: Float64Array): number {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const score of scores) {
    low = Math.min(low, score)
    high = Math.max(high, score)
  }
  return high > low ? high - low : 0
}

function countOwned(owner: Int32Array, experts: number): Int32Array {
  const owned = new Int32Array(experts)
  for (const e of owner) if (e >= 0) owned[e] = (owned[e] ?? 0) + 1
  return owned
}
