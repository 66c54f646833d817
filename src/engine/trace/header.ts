// The file of a recording of routing. Little-endian:
//
//   8 bytes   SWYROUTE
//   u32       bytes of the header
//   header    JSON, padded with spaces
//   records   one for each token, all of one size: u32 id, u32 position in its text (0 where one begins), then for each
//             MoE layer K u16 experts (0xffff: an empty slot) and K f32 weights
//
// The header is as long from the start as it will be, so that it can be completed once the tokens have been counted.

import { z } from 'zod'
import { ConfigError, FormatError } from '../../errors.ts'
import { issueText } from '../../schema-issue.ts'

export const magic = Buffer.from('SWYROUTE')
export const prefixBytes = magic.length + 4
export const version = 1

/** More than the names of any model need. */
export const maxHeaderBytes = 1 << 16

const count = z.int().nonnegative()

/** Every count is bounded, so that no product of them is beyond what a number holds. */
const headerSchema = z.strictObject({
  version: z.literal(version),
  /** What the model is called. It is shown on terminals, which obey control characters. */
  model: z.string().regex(/^\P{Cc}*$/u, 'must have no control characters'),
  /** Which of the model's layers have experts; a recording counts only these. */
  moeLayers: z.array(count.max(65_535)).min(1).max(4096),
  /** Experts of each. */
  experts: z.int().positive().max(65_535),
  /** Slots of each token in each layer. */
  topK: z.int().positive().max(4096),
  /** Bytes of one expert as the model keeps it; null where experts differ. */
  expertBytes: z.number().positive().nullable(),
  /** Recorded tokens. */
  tokens: count,
  /** Texts that they are of. */
  texts: count,
})

export type TraceHeader = z.infer<typeof headerSchema>

/** What is known before a token was recorded. */
export type TraceSource = Omit<TraceHeader, 'version' | 'tokens' | 'texts'>

export const slotBytes = 2 + 4

export const recordBytes = ({ moeLayers, topK }: Pick<TraceHeader, 'moeLayers' | 'topK'>): number =>
  8 + moeLayers.length * topK * slotBytes

/** @param room bytes of the JSON, at least as many as it takes */
export function encodeHeader(header: TraceHeader, room: number): Buffer {
  const json = Buffer.alloc(room, ' ')
  json.write(JSON.stringify(header))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(room)
  return Buffer.concat([magic, length, json])
}

/** Bytes that the header of this source takes at most. */
export function headerRoom(source: TraceSource): number {
  const longest = Number.MAX_SAFE_INTEGER
  const json = JSON.stringify({ version, ...source, tokens: longest, texts: longest })
  return Buffer.byteLength(json)
}

/** @throws FormatError naming what is wrong with it */
export function parseHeader(text: string, file: string): TraceHeader {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new FormatError('header is not JSON: the file is damaged; record it again', { file, cause })
  }
  const { data, problem } = check(json)
  if (data) return data
  throw new FormatError(`header: ${problem}: recorded by another version, or damaged`, { file })
}

/** @throws ConfigError for a source that no reader would accept */
export function checkSource(source: TraceSource): void {
  const { problem } = check({ version, ...source, tokens: 0, texts: 0 })
  if (problem !== undefined) throw new ConfigError(problem, { path: 'source' })
  const room = headerRoom(source)
  if (room > maxHeaderBytes)
    throw new ConfigError(`takes ${room} bytes of header, more than ${maxHeaderBytes}`, { path: 'source' })
}

/** The header, or what is wrong with it, as `topK must be at most 4096, got 5000`. */
function check(json: unknown): { data?: TraceHeader; problem?: string } {
  const { success, data, error } = headerSchema.safeParse(json)
  if (success) return { data }
  const [issue] = error.issues as [z.core.$ZodIssue]
  return { problem: `${issue.path.join('.')} ${issueText(issue, json)}`.trim() }
}
