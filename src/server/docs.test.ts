// docs/server.md is true: its fields are those of the schemas, its series those of the metrics.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { messages, servedApp } from '../../tests/support/served-app.ts'
import { serveCommand } from '../cli/commands/serve.ts'
import { defaultLimits } from './index.ts'
import { chatSchema } from './openai/chat-request.ts'
import { completionSchema } from './openai/completion-request.ts'

const { appOf, post } = await servedApp()

describe('docs/server.md', () => {
  const docs = readFileSync(fileURLToPath(new URL('../../docs/server.md', import.meta.url)), 'utf8')
  const rows = [...docs.matchAll(/^\| `(\w+)` \| (yes|refused) \| (yes|refused) \|/gm)]
  const known = { chat: chatSchema(defaultLimits).shape, completions: completionSchema(defaultLimits).shape }

  test('lists every field', () => {
    for (const [i, shape] of [known.chat, known.completions].entries()) {
      const told = rows.filter(row => row[i + 2] === 'yes').map(row => row[1])
      expect(told.toSorted()).toEqual(Object.keys(shape).toSorted())
    }
  })

  test.each(rows.map(([, field = '', chat, completions]) => [field, chat, completions]))(
    '%s',
    async (field, ...told) => {
      for (const [i, path] of ['/v1/chat/completions', '/v1/completions'].entries()) {
        const response = await post(path, { ...(i === 0 ? { messages } : { prompt: 'x' }), [field]: {} })
        const { error } = (await response.json()) as { error: { code: string; param: string } }
        if (told[i] === 'refused')
          expect(error).toMatchObject({ code: 'unsupported_parameter', param: field })
        else expect(error?.code).not.toBe('unsupported_parameter')
      }
    },
  )

  test('lists every endpoint, and so does /openapi.json', async () => {
    const { paths } = (await (await appOf().request('/openapi.json')).json()) as {
      paths: Record<string, { post?: { requestBody: { content: Record<string, { schema: object }> } } }>
    }
    const listed = [...docs.matchAll(/^\| `(?:GET|POST) (.+?) \|/gm)]
      .flatMap(([, names = '']) => names.split(/`?, `?/))
      .map(name => name.replaceAll('`', ''))
    expect(Object.keys(paths).toSorted()).toEqual(listed.toSorted())
    const chat = paths['/v1/chat/completions']?.post?.requestBody.content['application/json']?.schema
    expect(Object.keys((chat as { properties: object }).properties).toSorted()).toEqual(
      Object.keys(known.chat).toSorted(),
    )
  })

  test('lists every series of metrics', async () => {
    const text = await (await appOf().request('/metrics')).text()
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name = '']) => name)
    const isTold = (name: string): boolean =>
      docs.includes(name) ||
      docs.includes(`\`${name.replace(/^.*?(_[a-z]+(_total)?)$/, '$1')}`) ||
      /_(prefill|decode)_/.test(name)
    expect(names.filter(name => !isTold(name))).toEqual([])
    expect(names.length).toBeGreaterThan(20)
  })
})

describe('deploy/', () => {
  const deployed = (file: string): string =>
    readFileSync(fileURLToPath(new URL(`../../deploy/${file}`, import.meta.url)), 'utf8')
  const options = new Set(serveCommand().options.map(({ long }) => long))
  const optionsIn = (text: string): string[] =>
    [...text.matchAll(/"?(--[a-z-]+)/g)].map(([, name = '']) => name)

  test('kubernetes.yaml probes what there is, on the port that the image has', async () => {
    const [deployment, service] = parseAllDocuments(deployed('kubernetes.yaml')).map(each => each.toJS())
    const { containers, terminationGracePeriodSeconds } = deployment.spec.template.spec
    const [{ args, ports, startupProbe, readinessProbe, livenessProbe }] = containers
    for (const { httpGet } of [startupProbe, readinessProbe, livenessProbe]) {
      expect(httpGet.port).toBe(ports[0].name)
      expect((await appOf().request(httpGet.path)).status).toBe(200)
    }
    expect(service.spec.ports[0].targetPort).toBe(ports[0].name)
    expect(service.spec.selector).toEqual(deployment.spec.template.metadata.labels)
    expect(deployed('Dockerfile')).toContain(`EXPOSE ${ports[0].containerPort}`)
    const drain = serveCommand().options.find(({ long }) => long === '--drain')?.defaultValue as number
    expect(terminationGracePeriodSeconds).toBeGreaterThan(drain)
    for (const option of args.filter((arg: string) => arg.startsWith('--'))) expect(options).toContain(option)
  })

  test('the image and the unit start the server by options that it has', () => {
    const [, entry = ''] = /^ENTRYPOINT (.+)$/m.exec(deployed('Dockerfile')) ?? []
    const [, start = ''] = /^ExecStart=(.+)$/m.exec(deployed('switchyard.service')) ?? []
    for (const text of [entry, start]) {
      expect(text).toContain('serve')
      for (const option of optionsIn(text)) expect(options).toContain(option)
    }
  })
})

test('deploy/grafana.json asks for series that there are, each by labels that it has', async () => {
  const file = fileURLToPath(new URL('../../deploy/grafana.json', import.meta.url))
  const { panels } = JSON.parse(readFileSync(file, 'utf8')) as { panels: { targets: { expr: string }[] }[] }
  const metrics = await (await appOf().request('/metrics')).text()
  const types = new Map(
    [...metrics.matchAll(/^# TYPE (\S+) (\S+)/gm)].map(([, name = '', type]) => [name, type]),
  )
  const known = new Set([...types].map(([name, type]) => (type === 'histogram' ? `${name}_bucket` : name)))
  const asked = panels.flatMap(({ targets }) =>
    targets.flatMap(({ expr }) => [...expr.matchAll(/(?:vllm:|switchyard_)\w+/g)].map(([name]) => name)),
  )
  expect(asked.filter(name => !known.has(name))).toEqual([])
  expect(new Set(asked).size).toBeGreaterThan(15)
})
