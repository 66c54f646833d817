// What a conversation asks of the engine: the prompt, the form of the answer, and how to read it.

import { Rules, type TextGrammar, type TextRequest } from '../../engine/index.ts'
import { TemplateError } from '../../models/index.ts'
import { ApiError, wrongField } from '../api-error.ts'
import type { AnswerReader, Dialect } from '../dialects/dialect.ts'
import type { ServedModel } from '../served-model.ts'
import { templateMessages } from './chat-messages.ts'
import { type ChatRequest, chatSampling } from './chat-request.ts'
import { forcedCall, heldTo, offeredTools } from './chat-tools.ts'

export interface ChatTurn {
  text: Pick<TextRequest, 'prompt' | 'grammar' | 'shownSpecials'>
  /** Texts that end the answer. */
  stops: readonly string[]
  hasReasoning: boolean
  /** Reads one answer. */
  read(): AnswerReader
}

export async function chatTurn(served: ServedModel, request: ChatRequest): Promise<ChatTurn> {
  const { dialect } = templateOf(served)
  const prompt = await chatPrompt(served, request)
  const form = formOf(request, dialect, prompt, served.tokenizer.vocabSize)
  const { opening = '', grammar } = form ?? {}
  return {
    text: {
      prompt: `${prompt}${opening}`,
      shownSpecials: dialect.specials,
      ...(grammar && { grammar }),
    },
    stops: dialect.tools?.stops ?? [],
    hasReasoning: dialect.hasReasoning,
    read() {
      const offered = offeredTools(request).map(({ function: { name, parameters } }) => ({
        ...{ name, parameters: parameters ?? undefined },
      }))
      const reader = dialect.read(prompt, offered)
      reader.begin(opening)
      return reader
    },
  }
}

/** What the engine is asked for. */
export function chatText(request: ChatRequest, turn: ChatTurn, context: number): TextRequest {
  const sampling = chatSampling(request, context)
  return { ...sampling, ...turn.text, stop: [...(sampling.stop ?? []), ...turn.stops] }
}

/** Calls in one answer. */
export const mostCalls = ({ parallel_tool_calls }: ChatRequest): number =>
  parallel_tool_calls === false ? 1 : Number.POSITIVE_INFINITY

function templateOf({ template }: ServedModel): NonNullable<ServedModel['template']> {
  if (template) return template
  throw new ApiError(400, 'the model has no chat template: use /v1/completions', { code: 'no_chat_template' })
}

type PromptFields = Pick<ChatRequest, 'messages'> & Partial<ChatRequest>

/** The conversation as the model's template writes it. */
export async function chatPrompt(served: ServedModel, request: PromptFields): Promise<string> {
  const template = templateOf(served)
  const tools = offeredTools(request)
  if (tools.length > 0 && !(template.dialect.tools && template.takes('tools')))
    throw wrongField(
      'tools',
      "the model's chat template has no tools, or calls them in a way that is not known here",
    )
  const { reasoning_effort, chat_template_kwargs = {} } = request
  for (const name of Object.keys(chat_template_kwargs))
    if (ownVariables.includes(name) || !/^\w+$/.test(name) || !template.takes(name))
      throw wrongField(`chat_template_kwargs.${name}`, "the model's chat template takes none")
  if (reasoning_effort !== undefined && !template.takes('reasoning_effort'))
    throw wrongField('reasoning_effort', "the model's chat template takes none")
  try {
    return await template.render({
      ...chat_template_kwargs,
      messages: templateMessages(request.messages, template.hasArgumentValues),
      ...(tools.length > 0 && { tools }),
      ...(reasoning_effort !== undefined && { reasoning_effort }),
    })
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    throw wrongField('messages', `the model's chat template refuses them: ${error.message}`)
  }
}

/** Variables of templates that requests have other fields for. */
const ownVariables: readonly string[] = [
  ...['messages', 'tools', 'add_generation_prompt', 'bos_token', 'eos_token', 'reasoning_effort'],
]

/** What the answer begins with, and what the rest is held to: reasoning is left out then. Null: nothing. */
function formOf(
  request: ChatRequest,
  dialect: Dialect,
  prompt: string,
  tokens: number,
): { opening: string; grammar: TextGrammar } | null {
  const offers = offeredTools(request).length > 0
  const call = offers && dialect.tools ? forcedCall(request, dialect.tools, tokens) : null
  const { response_format: format } = request
  const isFormed = format !== undefined && format.type !== 'text'
  if (isFormed && offers)
    throw wrongField('response_format', 'does not go with tools: send tool_choice none, or no tools')
  if (call) return { ...call, opening: `${dialect.thoughtEnd(prompt)}${call.opening}` }
  if (!isFormed) return null
  const opening = `${dialect.thoughtEnd(prompt)}${dialect.answerStart}`
  if (format.type === 'json_object') return { opening, grammar: { json: true } }
  const rules = new Rules()
  const rule = heldTo(rules, format.json_schema.schema ?? {}, 'response_format.json_schema.schema', tokens)
  return { opening, grammar: { ebnf: rules.text(rule) } }
}
