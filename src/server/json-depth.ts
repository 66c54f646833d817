// How deep JSON is nested, before anything walks it.

const steps: Readonly<Record<string, number>> = { '[': 1, '{': 1, ']': -1, '}': -1 }

/** Whether lists and objects of a text of JSON are within more than `most` others. */
export function isDeeperThan(most: number, json: string): boolean {
  let depth = 0
  for (let at = 0; at < json.length && depth <= most; at++) {
    const character = json.charAt(at)
    if (character === '"') at = endOfString(json, at)
    else depth += steps[character] ?? 0
  }
  return depth > most
}

/** Where the string that begins at a quote has its last one. */
function endOfString(json: string, begin: number): number {
  for (let at = begin + 1; at < json.length; at++) {
    const character = json.charAt(at)
    if (character === '"') return at
    if (character === '\\') at++
  }
  return json.length
}
