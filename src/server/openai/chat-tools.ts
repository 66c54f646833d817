// Functions that a request offers, and whether one must be called.

import { z } from 'zod'
import { Rules, schemaRule, type TextGrammar } from '../../engine/index.ts'
import { ConfigError } from '../../errors.ts'
import { wrongField } from '../api-error.ts'
import type { Schema } from '../dialects/parameter-schema.ts'
import type { CallableTool, ToolFormat } from '../dialects/tool-format.ts'

const name = z.string().regex(/^[\w.-]{1,64}$/, { error: 'must be 1 to 64 letters, digits, _, . or -' })
const record = z.record(z.string(), z.unknown())

export const toolFields = {
  tools: z
    .array(
      z.strictObject({
        type: z.literal('function'),
        function: z.strictObject({
          name,
          description: z.string().nullish(),
          parameters: record.nullish(),
          strict: z.boolean().nullish(),
        }),
      }),
    )
    .max(128)
    .optional(),
  tool_choice: z
    .union(
      [
        z.enum(['none', 'auto', 'required']),
        z.strictObject({ type: z.literal('function'), function: z.strictObject({ name }) }),
      ],
      { error: 'must be none, auto, required, or a function by its name' },
    )
    .optional(),
  parallel_tool_calls: z.boolean().optional(),
}

export type ToolFields = z.infer<z.ZodObject<typeof toolFields>>
export type RequestTool = NonNullable<ToolFields['tools']>[number]

/** The functions that a template is told of, without fields that clients have left empty. */
export function offeredTools({ tools = [], tool_choice }: ToolFields): readonly RequestTool[] {
  if (tools.length === 0 && tool_choice !== undefined && tool_choice !== 'none' && tool_choice !== 'auto')
    throw wrongField('tool_choice', 'needs tools')
  if (tool_choice === 'none') return []
  return tools.map(({ type, function: { name, description, parameters, strict } }) => ({
    type,
    function: {
      name,
      ...(description && { description }),
      ...(parameters && { parameters }),
      ...(typeof strict === 'boolean' && { strict }),
    },
  }))
}

/** What makes the answer a call, where the request demands one. @throws ApiError for parameters that cannot be held to */
export function forcedCall(
  request: ToolFields,
  format: ToolFormat,
  tokens: number,
): { opening: string; grammar: TextGrammar } | null {
  const { tools = [], tool_choice = 'auto', parallel_tool_calls = true } = request
  if (tool_choice === 'none' || tool_choice === 'auto') return null
  const named = typeof tool_choice === 'object' ? tool_choice.function.name : null
  const rules = new Rules()
  const callable = [...tools.entries()].flatMap(
    ([
      i,
      {
        function: { name, parameters },
      },
    ]): CallableTool[] => {
      if (named !== null && named !== name) return []
      const all: Schema = { type: 'object', ...parameters }
      const path = `tools[${i}].function.parameters`
      const { $defs, definitions, properties } = all as Record<string, Schema | undefined>
      return [
        {
          ...{ name, parameters: all, path },
          rule: () => heldTo(rules, all, path, tokens),
          partRule(part) {
            const schema = { $defs, definitions, ...(properties?.[part] as Schema) }
            return heldTo(rules, schema, `${path}.properties.${part}`, tokens)
          },
        },
      ]
    },
  )
  if (callable.length === 0) throw wrongField('tool_choice', `there is no function '${named}' in tools`)
  const { opening, rule } = format.force(callable, rules, parallel_tool_calls && named === null)
  return { opening, grammar: { ebnf: rules.text(rule) } }
}

/** The rule of a schema that a request has. @throws ApiError that names what cannot be held to */
export function heldTo(
  rules: Rules,
  schema: Readonly<Record<string, unknown>>,
  path: string,
  tokens: number,
): string {
  try {
    return schemaRule(rules, schema, { path, tokens })
  } catch (error) {
    throw error instanceof ConfigError ? wrongField(error.path, error.problem) : error
  }
}
