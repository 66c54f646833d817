// A request as a line that people read.

import type { LogLine } from '../server/index.ts'

/** `12:30:01 POST /v1/chat/completions 200 1.24 s, prompt 25 (0 cached), 64 new, first after 80 ms, 55 tok/s, end-of-text` */
export function logText(line: LogLine): string {
  const { time, method, path, status, seconds, key } = line
  const problem = line.problem === undefined ? [] : [line.problem]
  const facts = [`${seconds.toFixed(2)} s`, ...textFacts(line), ...problem]
  const who = key === '' ? '' : ` key ${key}`
  const error = line.error === undefined ? '' : `\n${line.error}`
  return `${time.slice(11, 19)} ${method} ${path} ${status}${who} ${facts.join(', ')}${error}`
}

function textFacts(line: LogLine): string[] {
  const { promptTokens, cachedTokens, newTokens, queuedSeconds, firstTokenSeconds, reasons, seconds } = line
  if (newTokens === undefined) return []
  const milliseconds = (of: number): string => `${Math.round(of * 1000)} ms`
  const rate = firstTokenSeconds === undefined ? 0 : (newTokens - 1) / (seconds - firstTokenSeconds)
  return [
    promptTokens !== undefined && `prompt ${promptTokens} (${cachedTokens} cached)`,
    `${newTokens} new`,
    queuedSeconds !== undefined && queuedSeconds >= 0.01 && `queued ${milliseconds(queuedSeconds)}`,
    firstTokenSeconds !== undefined && `first after ${milliseconds(firstTokenSeconds)}`,
    Number.isFinite(rate) && rate > 0 && `${rate.toFixed(rate < 100 ? 1 : 0)} tok/s`,
    ...(reasons ?? []),
  ].filter(fact => typeof fact === 'string')
}
