// `switchyard doctor`: one page about the machine, what computes on it and how fast, and what to change.

import { Command } from 'commander'
import type { Machine, Rate } from '../../torch/index.ts'
import { adviceFor } from '../advice.ts'
import { bold, green, shortBytes, table, yellow } from '../terminal.ts'

const help = `
Measures for about two seconds. Machines that are shared are slower while others
work: run it again when a rate looks low.

Examples:
  switchyard doctor
  switchyard doctor --json > machine.json`

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('the machine, what computes on it and how fast, and what to change')
    .option('--json', 'print JSON')
    .option('--quiet', 'print nothing but what to change')
    .addHelpText('after', help)
    .action(doctor)
}

async function doctor({ json, quiet }: { json?: boolean; quiet?: boolean }): Promise<void> {
  const { examineMachine } = await import('../../torch/index.ts')
  const machine = examineMachine()
  const advice = adviceFor(machine, process.env)
  if (json) process.stdout.write(`${JSON.stringify({ ...machine, advice }, null, 2)}\n`)
  else if (!quiet) process.stdout.write(`${format(machine, advice)}\n`)
  else if (advice.length > 0) process.stdout.write(`${remedies(advice).join('\n')}\n`)
}

function format(machine: Machine, advice: readonly string[]): string {
  const { libtorch, memory, threads, gpu } = machine
  const facts = [
    ['processor', `${machine.processor}, ${cores(machine.cores)}`],
    ['extensions', machine.extensions.join(' ') || 'none that kernels have code for'],
    ['memory', `${shortBytes(memory.total)}, ${shortBytes(memory.available)} free`],
    ['libtorch', `${libtorch.version}, ${libtorch.cuda ? 'with CUDA' : 'without CUDA'}`],
    ['BLAS', libtorch.blas],
    ['threads', `${threads.operators} for operators, ${threads.blas} for BLAS`],
    ['products by', machine.gemm.replaceAll(',', ' ')],
    ['blocks by', machine.simd],
    ['GPU', gpu ? `${gpu.name}, ${shortBytes(gpu.memory)}` : 'none'],
  ]
  const width = Math.max(...facts.map(([name = '']) => name.length))
  const lines = facts.map(([name = '', value]) => `${bold(name.padEnd(width))}  ${value}`)
  return [...lines, '', rates(machine), '', ...remedies(advice)].join('\n')
}

const cores = (count: number): string => (count === 1 ? '1 core' : `${count} cores`)

function rates({ products, read, threads }: Machine): string {
  const row = ({ one, all }: Rate, name: string, unit: string): string[] => [
    name,
    (one / 1e9).toFixed(0),
    (all / 1e9).toFixed(0),
    unit,
  ]
  return table([
    ['', '1 thread', `${threads.operators} threads`, ''],
    ...products.map(rate => row(rate, `products, ${rate.name}`, 'GFLOP/s')),
    row(read, 'reading memory', 'GB/s'),
  ])
}

function remedies(advice: readonly string[]): string[] {
  if (advice.length === 0) return [green('Nothing to change.')]
  return advice.map(line => `${yellow('change:')} ${line}`)
}
