// deploy/'s ways to start ranks: each gives them all numbers that they need, and a mesh of as many ranks.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { parseMesh, worldSize } from '../src/parallel/mesh.ts'
import { placingOf } from '../src/parallel/placing.ts'

const path = (file: string): string => fileURLToPath(new URL(`../deploy/${file}`, import.meta.url))
const text = (file: string): string => readFileSync(path(file), 'utf8')
const numbers = ['RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'LOCAL_WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT']

test('the Job has as many pods as its mesh ranks, and gives each its place', () => {
  const [service, job] = parseAllDocuments(text('kubernetes-train.yaml')).map(each => each.toJS())
  const { completionMode, completions, parallelism, template } = job.spec
  const [{ args, env }] = template.spec.containers
  const given = Object.fromEntries(env.map(({ name, value = '3' }: Record<string, string>) => [name, value]))
  expect(Object.keys(given).toSorted()).toEqual(numbers.toSorted())
  expect(completionMode).toBe('Indexed')
  const mesh = parseMesh(args[args.indexOf('--mesh') + 1])
  for (const count of [completions, parallelism, Number(given.WORLD_SIZE)])
    expect(count).toBe(worldSize(mesh))
  expect(placingOf(given)).toMatchObject({ rank: 3, size: 8, localRank: 0, localSize: 1, port: 29500 })
  expect(given.MASTER_ADDR).toBe(`${job.metadata.name}-0.${service.metadata.name}`)
  expect(template.spec.subdomain).toBe(service.metadata.name)
  expect(service.spec.selector).toEqual({ 'job-name': job.metadata.name })
  expect(String(service.spec.ports[0].port)).toBe(given.MASTER_PORT)
})

describe.each(['train.slurm', 'train-mpirun.sh'])('%s', file => {
  test('is a script that bash reads, and sets all numbers', () => {
    execFileSync('bash', ['-n', path(file)])
    for (const name of numbers) expect(text(file)).toMatch(new RegExp(`\\b${name}=`))
    expect(text(file)).toContain('switchyard train "$RECIPE" --mesh "$MESH"')
  })
})

test('the Slurm file has as many tasks as its mesh ranks', () => {
  const numberOf = (name: string): number =>
    Number(new RegExp(`#SBATCH --${name}=(\\d+)`).exec(text('train.slurm'))?.[1])
  const [, mesh = ''] = /MESH:-([^}]+)\}/.exec(text('train.slurm')) ?? []
  expect(worldSize(parseMesh(mesh))).toBe(numberOf('nodes') * numberOf('ntasks-per-node'))
})
