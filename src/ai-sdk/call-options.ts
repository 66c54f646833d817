// What the AI SDK asks for, as the server's API has it.

import type {
  LanguageModelV3CallOptions,
  LanguageModelV3FunctionTool,
  LanguageModelV3Message,
  LanguageModelV3Prompt,
  LanguageModelV3ToolResultPart,
  SharedV3Warning,
} from '@ai-sdk/provider'
import { ConfigError } from '../errors.ts'

/**
 * The body of a chat completion. Fields that the AI SDK has no name for come from `providerOptions.switchyard`, as
 * `{ min_p: 0.1, chat_template_kwargs: { enable_thinking: false } }`.
 */
export function chatBody(options: LanguageModelV3CallOptions): Record<string, unknown> {
  const { responseFormat: format, toolChoice, tools } = options
  const functions = (tools ?? []).filter(tool => tool.type === 'function')
  return {
    messages: chatMessages(options.prompt),
    max_tokens: options.maxOutputTokens,
    temperature: options.temperature,
    top_p: options.topP,
    top_k: options.topK,
    presence_penalty: options.presencePenalty,
    frequency_penalty: options.frequencyPenalty,
    seed: options.seed,
    stop: options.stopSequences,
    ...(format?.type === 'json' && { response_format: jsonFormat(format.schema) }),
    ...(functions.length > 0 && { tools: functions.map(functionOf) }),
    ...(toolChoice && {
      tool_choice:
        toolChoice.type === 'tool'
          ? { type: 'function', function: { name: toolChoice.toolName } }
          : toolChoice.type,
    }),
    ...options.providerOptions?.switchyard,
  }
}

/** What of it goes unheard. */
export function warningsOf({ tools = [] }: LanguageModelV3CallOptions): SharedV3Warning[] {
  return tools
    .filter(tool => tool.type === 'provider')
    .map(({ name }) => ({ type: 'unsupported', feature: `tool ${name} of a provider` }))
}

const jsonFormat = (schema: unknown): object =>
  schema === undefined
    ? { type: 'json_object' }
    : { type: 'json_schema', json_schema: { name: 'answer', schema } }

const functionOf = ({ name, description, inputSchema }: LanguageModelV3FunctionTool): object => ({
  type: 'function',
  function: { name, ...(description !== undefined && { description }), parameters: inputSchema },
})

const chatMessages = (prompt: LanguageModelV3Prompt): object[] => prompt.flatMap(messagesOf)

function messagesOf(message: LanguageModelV3Message): object[] {
  switch (message.role) {
    case 'system':
      return [{ role: 'system', content: message.content }]
    case 'user':
      return [{ role: 'user', content: message.content.map(textOf).join('') }]
    case 'assistant':
      return [assistantMessage(message.content)]
    case 'tool':
      return message.content.flatMap(part => (part.type === 'tool-result' ? resultMessage(part) : []))
  }
}

function textOf(part: { type: string; text?: string }): string {
  if (part.type === 'text') return part.text ?? ''
  throw new ConfigError(`a part of type ${part.type} cannot be read: send text`, { path: 'messages' })
}

type AssistantContent = Extract<LanguageModelV3Message, { role: 'assistant' }>['content']

function assistantMessage(content: AssistantContent): object {
  const textIn = (type: 'text' | 'reasoning'): string =>
    content.map(part => (part.type === type ? part.text : '')).join('')
  const calls = content.flatMap(part => (part.type === 'tool-call' ? part : []))
  return {
    role: 'assistant',
    content: textIn('text'),
    reasoning_content: textIn('reasoning'),
    tool_calls: calls.map(({ toolCallId, toolName, input }) => ({
      ...{ id: toolCallId, type: 'function' },
      function: { name: toolName, arguments: JSON.stringify(input) },
    })),
  }
}

function resultMessage({ toolCallId, toolName, output }: LanguageModelV3ToolResultPart): object {
  return { role: 'tool', tool_call_id: toolCallId, name: toolName, content: resultText(output) }
}

function resultText(output: LanguageModelV3ToolResultPart['output']): string {
  switch (output.type) {
    case 'text':
    case 'error-text':
      return output.value
    case 'execution-denied':
      return output.reason ?? 'The call was denied.'
    case 'content':
      return output.value.map(textOf).join('')
    default:
      return JSON.stringify(output.value)
  }
}
