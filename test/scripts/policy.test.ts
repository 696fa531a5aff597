import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { parse } from 'yaml'
import {
  examplePath,
  fillPage,
  objects,
  pagePath,
  type Schema,
  schemaPath,
  schemaText,
} from '../../scripts/policy.ts'
import { createPolicyReader } from '../../src/config/effective-policy.ts'
import { readEnvironment } from '../../src/config/environment.ts'
import { variables } from '../../src/config/variables.ts'
import { createMetrics } from '../../src/observability/metrics.ts'
import { noSources } from '../support/metrics.ts'

const page = readFileSync(pagePath, 'utf8')
const example = readFileSync(examplePath, 'utf8')

function readExample(text: string) {
  return createPolicyReader(readEnvironment({}).values, {})('policy.yaml', text)
}

describe('the page', () => {
  test('says what the schema says now (mend: npm run generate)', () => {
    expect(fillPage(page)).toBe(page)
  })

  test('has a table for every object of the schema', () => {
    const described = Object.values(objects).map((object) => JSON.stringify(object))

    const missing = objectsIn(objects['file'] ?? {}).filter(
      (object) => !described.includes(JSON.stringify(object)),
    )

    expect(described.every((object) => object !== '{}')).toBe(true)
    expect(missing).toEqual([])
  })

  test('names no environment variable and no metric that is none', () => {
    const { registry } = createMetrics(noSources)
    const named = page.match(/\bGATEPOST_[A-Z_]*[A-Z]\b/g) ?? []
    const metrics = page.match(/\bgateway_[a-z_]+\b/g) ?? []

    expect(named.length).toBeGreaterThan(0)
    expect(named.filter((name) => !(name in variables))).toEqual([])
    expect(metrics.filter((name) => !registry.getSingleMetric(name))).toEqual([])
  })
})

/** Every object with members of its own, wherever it stands. */
function objectsIn(schema: Schema): Schema[] {
  const { properties = {}, patternProperties = {}, items, anyOf = [] } = schema
  const inner = [...Object.values(properties), ...Object.values(patternProperties), ...anyOf]
  const deeper = [...inner, ...(items ? [items] : [])].flatMap(objectsIn)
  return schema.properties ? [schema, ...deeper] : deeper
}

describe('the example', () => {
  test('is a policy without problems, by itself', () => {
    expect(readExample(example)).toMatchObject({
      kind: 'document',
      value: { routes: { routes: { length: 7 } } },
    })
  })

  test('a planted mistake is told with its place', () => {
    expect(readExample(example.replace('algorithm: fixed-window', 'algorithm: leaky'))).toEqual({
      kind: 'problems',
      problems: [
        expect.stringMatching(/^policy\.yaml:\d+:\d+: routes\.2\.rate_limits\.0\.algorithm: must be/),
      ],
    })
  })

  test('shows every key that a route can have', () => {
    const { routes } = parse(example) as { routes: object[] }

    const shown = new Set(routes.flatMap(Object.keys))

    expect([...shown].sort()).toEqual(Object.keys(objects['route']?.properties ?? {}).sort())
  })

  test('tells editors where its schema is', () => {
    const [, path = ''] = /^# yaml-language-server: \$schema=(\S+)\n/.exec(example) ?? []

    expect(existsSync(join(dirname(examplePath), path))).toBe(true)
  })
})

test('the policy in the README is one without problems', () => {
  const readme = readFileSync(join(dirname(pagePath), '../README.md'), 'utf8')
  const [, policy = ''] = /```yaml\n(issuers:\n.*?)```/s.exec(readme) ?? []

  expect(readExample(policy)).toMatchObject({
    kind: 'document',
    value: { routes: { routes: { length: 1 } } },
  })
})

describe('the schema for editors', () => {
  const validate = new Ajv2020().compile(JSON.parse(readFileSync(schemaPath, 'utf8')) as object)

  test('is that of the code (mend: npm run generate)', () => {
    expect(readFileSync(schemaPath, 'utf8')).toBe(schemaText())
  })

  test('takes the example, and not a key with a typo', () => {
    expect(validate(parse(example))).toBe(true)
    expect(validate({ routes: [{ name: 'users', rate_limit: [] }] })).toBe(false)
  })
})
