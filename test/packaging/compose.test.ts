import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { readServices } from '../../scripts/compose/compose-file.ts'
import { composeEnvoyConfig } from '../../scripts/compose/envoy-config.ts'
import { Places } from '../../scripts/compose/places.ts'
import { variables } from '../../src/config/variables.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const read = (file: string) => readFileSync(join(root, file), 'utf8')

interface RawService {
  image: string
  ports?: string[]
  volumes?: string[]
  environment?: Record<string, string>
  read_only?: boolean
  cap_drop?: string[]
  security_opt?: string[]
  healthcheck?: { test?: string[]; disable?: boolean }
  deploy?: { resources?: { limits?: Record<string, unknown> } }
}

const text = read('docker-compose.yml')
const { services } = parse(text, { merge: true }) as { services: Record<string, RawService> }
const all = Object.entries(services)

test.each(all)('%s has a read-only root, no capability and no way to a new privilege', (_name, service) => {
  expect(service).toMatchObject({
    read_only: true,
    cap_drop: ['ALL'],
    security_opt: ['no-new-privileges:true'],
  })
})

test.each(all)('%s has a limit for processors, memory and processes', (_name, { deploy }) => {
  expect(Object.keys(deploy?.resources?.limits ?? {}).sort()).toEqual(['cpus', 'memory', 'pids'])
})

test.each(all.filter(([name]) => name !== 'rabbitmq-secrets'))('%s has a health check', (_name, service) => {
  expect(service.healthcheck?.test?.[0]).toBe('CMD')
})

test.each(all)('%s is open to this machine alone, in a version that is named', (_name, service) => {
  const { image, ports = [] } = service

  expect(ports.filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([])
  expect(image).toMatch(/^gatepost(-sample)?$|:v?\d+\.\d+/)
})

test.each(all)(
  '%s is given files that are there, and no secret',
  (_name, { volumes = [], environment = {} }) => {
    const files = volumes
      .map((volume) => volume.split(':')[0] ?? '')
      .filter((source) => source.startsWith('.'))
    const secrets = Object.entries(environment).filter(([name]) =>
      /(PASSWORD|SECRET|TOKEN|_KEY|_URL)$/.test(name),
    )

    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([])
    expect(secrets).toEqual([])
  },
)

test('every variable that Gatepost is given is one that it knows', () => {
  const known = Object.keys(variables).flatMap((name) => [name, `${name}_FILE`])

  const given = Object.keys(services['gatepost']?.environment ?? {})
  expect(given.length).toBeGreaterThan(5)
  expect(given.filter((name) => !known.includes(name))).toEqual([])
})

test("Envoy's configuration is that of envoy/ext-authz.yaml, as `npm run generate` makes it", () => {
  expect(read('deploy/envoy.yaml')).toBe(composeEnvoyConfig(read('envoy/ext-authz.yaml')))
})

test("Envoy's configuration cannot be made where what it changes is not there", () => {
  expect(() => composeEnvoyConfig('static_resources: {}')).toThrow(
    /^Cannot write deploy\/envoy\.yaml: envoy\/ext-authz\.yaml does not have once:/,
  )
})

describe('the services that the walk reads', () => {
  const names = (profiles: string[]) => readServices(text, profiles, {}).map(({ name }) => name)

  test('are those without a profile, and those of the profiles that are asked for', () => {
    const core = ['envoy', 'gatepost', 'openid', 'order-service', 'user-service']

    expect(names([]).sort()).toEqual(core)
    expect(names(['kafka']).sort()).toEqual([...core, 'kafka'].sort())
    expect(names(['rabbitmq', 'observability']).sort()).toEqual(
      [...core, 'grafana', 'prometheus', 'rabbitmq', 'rabbitmq-secrets'].sort(),
    )
  })

  test('come after those that they depend on', () => {
    const order = names(['rabbitmq'])

    const places = ['rabbitmq-secrets', 'rabbitmq', 'gatepost', 'envoy'].map((name) => order.indexOf(name))
    expect(places).toEqual(places.toSorted((one, other) => one - other))
  })

  test('have their variables filled in, an unset one by its default, a set one by what stands in for it, and a dollar sign by two', () => {
    // Written with an escape, or it would look like a template of this file.
    const file =
      'services: { a: { image: b:1, environment: { X: "\u0024{ONE:-1}\u0024{TWO:-2}$$", Y: "\u0024{NONE:-}", Z: "\u0024{TWO:+2}\u0024{NONE:+3}" } } }'

    const [service] = readServices(file, [], { TWO: 'two' })

    expect(service?.environment).toEqual({ X: '1two$', Y: '', Z: '2' })
  })

  test.each([
    [
      'a: { image: x:1, depends_on: { b: { condition: service_started } } }',
      /depends on b, which no profile/,
    ],
    [
      'a: { image: x:1, depends_on: { b: { condition: service_started } } }, b: { image: x:1, depends_on: { a: { condition: service_started } } }',
      /Cannot order a, b/,
    ],
    ['a: { image: x:1, healthcheck: { test: [CMD-SHELL, "true"] } }', /health check of the form CMD-SHELL/],
  ])('are refused where they cannot be started: %s', (body, problem) => {
    expect(() => readServices(`services: { ${body} }`, [], {})).toThrow(problem)
  })
})

describe('what the walk rewrites', () => {
  const places = new Places(root, '/nowhere', ['kafka', 'user-service'])
  const paths = new Map([
    ['/run/gatepost', '/tmp/volume'],
    ['/app', '/tmp/app'],
  ])

  test.each([
    ['http://kafka:9092/', 'http://127.0.0.1:KAFKA/'],
    ['0.0.0.0:9092', '127.0.0.1:OWN'],
    ['exec 3<>/dev/tcp/127.0.0.1/9092', 'exec 3<>/dev/tcp/127.0.0.1/OWN'],
    ['{ address: user-service, port_value: 9092 }', '{ address: 127.0.0.1, port_value: USER }'],
    ['unix:/run/gatepost/gatepost.sock', 'unix:/tmp/volume/gatepost.sock'],
    ['/app/bin/gatepost.js', '/tmp/app/bin/gatepost.js'],
    ['/application /usr/app 10.0.0.1:9092 my-kafka:9092 v1.40.0:9092', '='],
  ])('%s becomes an address or path of this machine', async (from, to) => {
    const seen = await places.rewrite('own', from, paths)

    const ports = {
      KAFKA: await places.port('kafka', 9092),
      OWN: await places.port('own', 9092),
      USER: await places.port('user-service', 9092),
    }
    const expected = Object.entries(ports).reduce((all, [name, port]) => all.replace(name, String(port)), to)
    expect(seen).toBe(to === '=' ? from : expected)
  })
})
