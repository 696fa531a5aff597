import { existsSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { parse } from 'yaml'
import { examplePath, fillPage, objects, pagePath, schemaPath, schemaText } from '../../scripts/webhooks.ts'
import { variables } from '../../src/config/variables.ts'
import { createWebhooksReader } from '../../src/config/webhooks.ts'
import { tempFolder } from '../support/temp.ts'

const page = readFileSync(pagePath, 'utf8')
const example = readFileSync(examplePath, 'utf8')

describe('the page', () => {
  test('says what the schema says now (mend: npm run generate)', () => {
    expect(fillPage(page)).toBe(page)
  })

  test('names no environment variable that is none', () => {
    const named = page.match(/\bGATEPOST_[A-Z_]*[A-Z]\b/g) ?? []

    expect(named.length).toBeGreaterThan(0)
    expect(named.filter((name) => !(name in variables))).toEqual([])
  })
})

describe('the example', () => {
  test('is a file without problems, as soon as its secrets are there', async () => {
    await using folder = await tempFolder('webhooks')
    const secret = 'a-secret-0123456789'
    await writeFile(join(folder.path, 'billing'), secret)
    await writeFile(join(folder.path, 'billing-old'), secret)
    const read = createWebhooksReader({
      env: { ONCALL_SECRET: secret, BILLING_HOST: 'billing.example.com', BILLING_TOKEN: 't0ken' },
      allowPlaintext: false,
      isSecretKeySet: true,
    })

    const result = read('webhooks.yaml', example.replaceAll('/run/secrets', folder.path))

    expect(result).toMatchObject({ kind: 'document', value: { length: 2 } })
  })

  test('shows every key that an endpoint can have', () => {
    const { webhooks } = parse(example) as { webhooks: object[] }

    const shown = new Set(webhooks.flatMap(Object.keys))

    expect([...shown].sort()).toEqual(Object.keys(objects['webhook']?.properties ?? {}).sort())
  })

  test('tells editors where its schema is', () => {
    const [, path = ''] = /^# yaml-language-server: \$schema=(\S+)\n/.exec(example) ?? []

    expect(existsSync(join(dirname(examplePath), path))).toBe(true)
  })
})

describe('the schema for editors', () => {
  const ajv = new Ajv2020()
  addFormats.default(ajv)
  const validate = ajv.compile(JSON.parse(readFileSync(schemaPath, 'utf8')) as object)

  test('is that of the code (mend: npm run generate)', () => {
    expect(readFileSync(schemaPath, 'utf8')).toBe(schemaText())
  })

  test('takes the example, and not a key with a typo', () => {
    expect(validate(parse(example))).toBe(true)
    expect(validate({ webhooks: [{ id: 'a', url: 'https://x.example/', secrets: 'x' }] })).toBe(false)
  })
})
