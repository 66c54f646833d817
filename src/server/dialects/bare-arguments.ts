// Arguments of calls in XML: values stand bare between marks, and which of them are texts is known from the function's schema.
// They are given out as the JSON that clients know.

import { choice, literal, type Rules, sequence } from '../../engine/index.ts'
import { wrongField } from '../api-error.ts'
import { type Input, type Reading, skipMatch, skipSpace, skipText, textUntil } from './input.ts'
import { type Schema, textsOf, writesText } from './parameter-schema.ts'
import type { CallableTool, OfferedTool } from './tool-format.ts'

/** How a family writes an argument. */
export interface ArgumentForm {
  /** What is before a value. */
  head(name: string): string
  /** The same as it is read: what it begins with, and the rest, with the name. */
  open: string
  name: RegExp
  /** One of these around a value is no part of it. */
  edge: string
  close: string
}

/** Reads all arguments of a call. What is cut off is not closed. */
export function* bareArguments(
  input: Input,
  form: ArgumentForm,
  { parameters = {} }: Pick<OfferedTool, 'parameters'>,
): Reading {
  let before = '{'
  while ((yield* skipSpace(input)) && (yield* skipText(input, form.open))) {
    const found = yield* skipMatch(input, form.name)
    if (found === null) return
    const name = (found[1] as string).trim()
    yield { kind: 'arguments', text: `${before}${JSON.stringify(name)}: ` }
    if (!(yield* bareValue(input, form, parameters, name))) return
    before = ', '
  }
  yield { kind: 'arguments', text: before === '{' ? '{}' : '}' }
}

/** Texts come in pieces, other values whole. False: the answer ended before. */
function* bareValue(input: Input, form: ArgumentForm, parameters: Schema, name: string): Reading<boolean> {
  const { edge, close } = form
  if (edge !== '') yield* skipText(input, edge)
  const kind = writesText(parameters, name)
  if (kind === 'always') {
    yield { kind: 'arguments', text: '"' }
    const end = yield* escaped(textUntil(input, [`${edge}${close}`, close], 'arguments'))
    if (end !== null) yield { kind: 'arguments', text: '"' }
    return end !== null
  }
  const text = yield* wholeText(input, close)
  if (text === null) return false
  yield {
    kind: 'arguments',
    text: asJson(edge !== '' && text.endsWith(edge) ? text.slice(0, -edge.length) : text, kind),
  }
  return true
}

/** The same reading, with its text as within a string of JSON. */
function* escaped<T>(reading: Reading<T>): Reading<T> {
  for (;;) {
    const { done, value } = reading.next()
    if (done) return value
    yield value?.kind === 'arguments' ? { ...value, text: JSON.stringify(value.text).slice(1, -1) } : value
  }
}

/** All up to a mark, which it passes; null when the text ends without one. */
function* wholeText(input: Input, mark: string): Reading<string | null> {
  for (let at = input.text.indexOf(mark); ; at = input.text.indexOf(mark)) {
    if (at >= 0) return input.take(at + mark.length).slice(0, at)
    if (input.isOver) return null
    yield null
  }
}

/** Some templates write constants as Python does, and models after them. */
const constants: Record<string, string> = { True: 'true', False: 'false', None: 'null' }

function asJson(text: string, kind: 'or null' | 'never'): string {
  const value = constants[text.trim()] ?? text.trim()
  if (kind === 'or null') return value === 'null' ? value : JSON.stringify(text)
  try {
    JSON.parse(value)
    return value
  } catch {
    return JSON.stringify(text)
  }
}

/**
 * The rule that derives arguments, in the schema's order; those that need not be there may be left out. Texts are any that
 * do not look like a mark.
 *
 * @throws ApiError for texts that are to be of some form
 */
export function argumentsRule(tool: CallableTool, form: ArgumentForm, rules: Rules): string {
  const { properties = {}, required = [] } = tool.parameters as {
    properties?: Record<string, Schema>
    required?: string[]
  }
  const tail = literal(`${form.edge}${form.close}\n`)
  const members = Object.keys(properties).map(name => {
    const member = sequence(literal(form.head(name)), valueRule(tool, name, rules), tail)
    return required.includes(name) ? member : `(${member})?`
  })
  return sequence(...members)
}

function valueRule(tool: CallableTool, name: string, rules: Rules): string {
  const texts = textsOf(tool.parameters, name)
  if (texts === null) return tool.partRule(name)
  const forms = texts.map(({ values, formed }) => {
    if (formed !== null)
      throw wrongField(
        `${tool.path}.properties.${name}.${formed}`,
        'cannot be held to in the way in which this model writes calls',
      )
    if (values === null) rules.add({ bare: '"" | [^<] bare | "<" [^/<] bare' })
    return values === null ? 'bare' : choice(...values.map(literal))
  })
  return choice(...new Set(forms))
}
