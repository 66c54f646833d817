// What a text may be asked to be, as plain data.

/** A JSON schema as it was sent. */
export type JsonSchema = Readonly<Record<string, unknown>> | boolean

/** The form of a text: an object of JSON, JSON of a schema, or what a grammar in xgrammar's EBNF derives from `root`. */
export type TextGrammar = { json: true } | { jsonSchema: JsonSchema } | { ebnf: string }
