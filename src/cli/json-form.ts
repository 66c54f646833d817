// Texts that are held to a JSON schema: the option that generate and chat share.

import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import type { Grammars, JsonSchema } from '../engine/index.ts'
import { ConfigError } from '../errors.ts'
import type { OpenedModel, TokenConstraint } from '../models/index.ts'

/** Adds --json-schema. */
export function withJsonSchemaOption(command: Command): Command {
  return command.option('--json-schema <file>', 'hold the text to the JSON schema in a file')
}

/** Its thread ends with the process. */
export class JsonForm {
  readonly #grammars: Grammars
  readonly #ebnf: string

  private constructor(grammars: Grammars, ebnf: string) {
    this.#grammars = grammars
    this.#ebnf = ebnf
  }

  /** @throws ConfigError for a file that is no schema, or one that cannot be held to */
  static async read(file: string, { config, tokenizer }: OpenedModel): Promise<JsonForm> {
    const { Grammars, Rules, schemaRule } = await import('../engine/index.ts')
    const rules = new Rules()
    const root = schemaRule(rules, schemaIn(file), { path: file, tokens: config.vocab_size })
    const ends = 'eos_token_id' in config ? [config.eos_token_id ?? []].flat() : []
    return new JsonForm(new Grammars(tokenizer, config.vocab_size, ends), rules.text(root))
  }

  /** For one text. */
  constraint(): Promise<TokenConstraint & Disposable> {
    return this.#grammars.constraint({ ebnf: this.#ebnf })
  }
}

function schemaIn(file: string): JsonSchema {
  const text = readFileSync(file, 'utf8')
  try {
    const schema: unknown = JSON.parse(text)
    if (typeof schema === 'object' && schema !== null && !Array.isArray(schema)) return schema as JsonSchema
  } catch (cause) {
    throw new ConfigError(`is no JSON: ${(cause as Error).message}`, { path: file, cause })
  }
  throw new ConfigError('must be a JSON schema, an object', { path: file })
}
