import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { contextSources } from '../../scripts/compose/builder.ts'
import { imageConfig, readStages } from '../../scripts/compose/dockerfile.ts'
import { parseArguments } from '../../src/cli/arguments.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const stages = readStages(read('Dockerfile'))
const gatepost = imageConfig(stages, 'gatepost')
const compose = parse(read('docker-compose.yml'), { merge: true })

test('the last stage, which a build without a target makes, is Gatepost', () => {
  expect([...stages.keys()].at(-1)).toBe('gatepost')
})

test('every stage begins with the same base, or with another stage', () => {
  const bases = [...stages.values()].map(({ from }) => from)

  expect(bases.filter((from) => !/^\$\{NODE_IMAGE\}$/.test(from) && !stages.has(from))).toEqual([])
})

test('the image runs `gatepost serve` as a numbered user that is not root, and stops by SIGTERM', () => {
  const stop = stages.get('gatepost')?.instructions.find(({ keyword }) => keyword === 'STOPSIGNAL')

  expect([...gatepost.entrypoint, ...gatepost.command]).toEqual(['node', '/app/bin/gatepost.js', 'serve'])
  expect(gatepost.user).toMatch(/^[1-9]\d*:[1-9]\d*$/)
  expect(stop?.rest).toBe('SIGTERM')
})

test("the health check is a command of the CLI's, in compose as well", () => {
  const [node, file, ...args] = gatepost.healthcheck ?? []

  expect([node, file]).toEqual(['node', '/app/bin/gatepost.js'])
  expect(parseArguments(args)).toEqual({
    kind: 'run',
    command: 'check',
    operands: [],
    options: { ready: true },
  })
  expect(compose.services.gatepost.healthcheck.test).toEqual(['CMD', ...(gatepost.healthcheck ?? [])])
})

test('the image has all that the npm package has of code and configuration', () => {
  const { files } = JSON.parse(read('package.json')) as { files: string[] }
  const copied = stages.get('gatepost')?.instructions.filter(({ keyword }) => keyword === 'COPY') ?? []
  const there = copied.map(({ rest }) => rest.split(' ').at(-1))

  // Pages and manifests are for whoever puts the container somewhere, not for the container.
  const outside = ['docs', 'istio', 'kubernetes']
  const wanted = files.filter((file) => !file.endsWith('.md') && !outside.includes(file))
  expect(wanted.filter((file) => !there.includes(file))).toEqual([])
})

test('what the image copies is what .dockerignore lets through, and nothing else gets through', () => {
  const [first, ...allowed] = read('.dockerignore')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  const copied = [...stages.values()].flatMap(({ instructions }) => contextSources(instructions))

  expect(first).toBe('*')
  expect([...new Set(copied)].sort()).toEqual(allowed.map((line) => line.replace('!', '')).sort())
})

test("Envoy's container has Gatepost's user, to whose group the socket is open", () => {
  expect(compose.services.envoy.user).toBe(gatepost.user)
})
