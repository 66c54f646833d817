// The thread in which a chat template runs.

import { parentPort, workerData } from 'node:worker_threads'
import { Template } from '@huggingface/jinja'

export interface RenderTask {
  id: number
  variables: Record<string, unknown>
}

export type RenderResult = { id: number; text: string } | { id: number; problem: string }

const { template } = workerData as { template: string }
let parsed: Template | null = null

parentPort?.on('message', ({ id, variables }: RenderTask) => parentPort?.postMessage(rendered(id, variables)))

function rendered(id: number, variables: Record<string, unknown>): RenderResult {
  try {
    parsed ??= new Template(template)
    return { id, text: parsed.render(variables) }
  } catch (error) {
    return { id, problem: error instanceof Error ? error.message : String(error) }
  }
}
