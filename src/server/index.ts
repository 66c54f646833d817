// HTTP: a model for clients of the OpenAI API.

export { ApiError } from './api-error.ts'
export { type AppOptions, createApp } from './app.ts'
export { ChatTemplate } from './chat-template.ts'
export type { MessageDelta } from './openai/chat-answer.ts'
export { type ChatPiece, writeChat } from './openai/write-chat.ts'
export type { LogLine } from './request-record.ts'
export { type ServedModel, servedModel } from './served-model.ts'
export { defaultLimits, isLoopback, type Limits, type ServerSettings } from './settings.ts'
export { type RunningServer, startServer } from './start.ts'
