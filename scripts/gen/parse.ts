// operators.txt and libtorch's schema texts as data.

/** A parameter as TypeScript sees it. */
export interface Parameter {
  name: string
  /** The schema's type, as in `Tensor?` or `int[1]`. */
  type: string
  optional: boolean
  /** Source text of a value that is always passed. */
  fixed?: string
}

export interface Overload {
  /** `aten::add` */
  operator: string
  /** `Tensor` */
  overload: string
  schema: string
  parameters: Parameter[]
  returns: string
  inPlace: boolean
}

/** One TypeScript method or function. */
export interface Entry {
  name: string
  section: 'methods' | 'functions'
  overloads: Overload[]
}

/** The comments of operators.txt describe its lines. */
export function parseList(text: string, schemaOf: (operator: string, overload: string) => string): Entry[] {
  const entries: Entry[] = []
  let section: Entry['section'] = 'methods'
  for (const line of text.split('\n')) {
    const heading = /^\[(methods|functions)\]$/.exec(line)
    if (heading) section = heading[1] as Entry['section']
    const match = /^(\w+)(?: = ([\w:]+))?: ([\w| -]+?)(?:, (\w+)=(\w+))?$/.exec(line)
    if (!match) continue
    const [, name = '', operator = name, overloads = '', fixedName, fixedValue] = match
    entries.push({
      name: camelCase(name),
      section,
      overloads: overloads.split(' | ').map(overload => {
        const parsed = parseSchema(schemaOf(qualified(operator), overload === '-' ? '' : overload))
        const fixed = parsed.parameters.find(parameter => parameter.name === fixedName)
        if (fixed && fixedValue) fixed.fixed = fixedValue
        return parsed
      }),
    })
  }
  return entries
}

const qualified = (operator: string): string => (operator.includes('::') ? operator : `aten::${operator}`)

/** Parameters that only defaults are ever wanted of. */
const hidden = new Set([
  'layout',
  'pin_memory',
  'memory_format',
  'implicit',
  'sparse_grad',
  'cudnn_enable',
  'path',
])

export function parseSchema(schema: string): Overload {
  const match = /^(\w+::\w+?)(?:\.(\w+))?\((.*)\) -> (.*)$/.exec(schema)
  if (!match) throw new Error(`cannot read schema: ${schema}`)
  const [, operator = '', overload = '', list = '', returns = ''] = match
  const parameters = splitList(list)
    .filter(item => item !== '*')
    .map(parseParameter)
  const inPlace = operator.endsWith('_') && returns.startsWith('Tensor(a!)') && !returns.includes('[]')
  return { operator, overload, schema, parameters, returns: returns.replace(/\(a[^)]*\)/g, ''), inPlace }
}

function parseParameter(text: string): Parameter {
  const match = /^(\w+)(?:\([^)]*\))?((?:\[\d*\]|\?)*) (\w+)(?:=(.*))?$/.exec(text)
  if (!match) throw new Error(`cannot read parameter: ${text}`)
  const [, base = '', suffix = '', name = '', fallback] = match
  const type = base.replace('SymInt', 'int') + suffix
  const parameter: Parameter = { name, type, optional: fallback !== undefined || type.endsWith('?') }
  if (hidden.has(name)) parameter.fixed = 'undefined'
  return parameter
}

/** Splits at commas outside of brackets. */
function splitList(text: string): string[] {
  return text.split(/, (?![^([]*[)\]])/).filter(item => item !== '')
}

export function camelCase(name: string): string {
  return name.replace(/^_+/, '').replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
}
