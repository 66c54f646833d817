// What text is made of here: documents of a domain, read from a source.

/** A piece of text that is kept whole: a file, a chapter, a section. Training and validation never share one. */
export interface Document {
  text: string
  /** What kind of text it is, as `code` or `fr`: the unit of sizes, splits and reports. */
  domain: string
  /** Where it was read from, as `golang-1.19-src/src/fmt/print.go`. */
  source: string
}

/** A work that text was taken from, kept in a corpus's manifest. */
export interface Origin {
  /** A package, folder or file. */
  name: string
  version?: string | undefined
  /** Unknown for the user's own text. */
  licence?: string | undefined
}

/** Reports a source's progress: how far it is (unknown: undefined) and what it does now. */
export type SourceProgress = (fraction: number | undefined, text: string) => void

export interface SkippedFile {
  file: string
  /** As in `is empty`. */
  reason: string
}

/** Anything that documents can be read from. */
export interface TextSource {
  documents(onProgress: SourceProgress): AsyncIterable<Document>
  /** What was read; complete once `documents` has ended. */
  origins(): Origin[]
  /** Files passed over because they held no text; complete once `documents` has ended. */
  readonly skipped: readonly SkippedFile[]
}

/** Domains head tables and name reports: a name has 1 to 64 printable characters, no space at its ends. */
export const domainPattern = /^[^\p{C}\s](?:[^\p{C}]{0,62}[^\p{C}\s])?$/u
