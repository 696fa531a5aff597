import { readFileSync } from 'node:fs'
import { describe, expect, test } from '@jest/globals'
import { Validator } from '@seriousme/openapi-schema-validator'
import { openApiPath, openApiText } from '../../scripts/openapi.ts'
import {
  adminToken,
  description,
  holdAgainstDescription,
  operations,
  startAdminApi,
} from '../support/admin-api.ts'

describe('the description of the admin API', () => {
  test('on disk is that of the code (mend: npm run generate)', async () => {
    expect(readFileSync(openApiPath, 'utf8')).toBe(await openApiText())
  })

  test('is a valid one of OpenAPI 3.1', async () => {
    const validator = new Validator()

    const { valid, errors } = await validator.validate(structuredClone(description))

    expect([errors, valid, validator.version]).toEqual([undefined, true, '3.1'])
    expect(description.openapi).toBe('3.1.0')
  })

  test('is what is served to bearers of the token', async () => {
    await using api = await startAdminApi()

    const { status, body } = await api.ask('GET', '/openapi.json')

    expect([status, body]).toEqual([200, description])
  })

  test('names each operation once, and says what it does and where it belongs', () => {
    const ids = operations.map(({ operation }) => operation.operationId)
    const tags = new Set(description.tags.map(({ name }) => name))

    expect(new Set(ids).size).toBe(ids.length)
    expect(ids.filter((id) => !/^[a-z][A-Za-z]+$/.test(id))).toEqual([])
    expect(operations.filter(({ operation }) => !operation.summary)).toEqual([])
    expect(operations.flatMap(({ operation }) => operation.tags).filter((tag) => !tags.has(tag))).toEqual([])
  })

  test('says of three paths that they are open, and the API opens no other without the token', async () => {
    await using api = await startAdminApi()
    const { port } = api.server.address

    const answers = await Promise.all(
      operations.map(async ({ method, path, operation: { security } }) => {
        const url = `http://127.0.0.1:${port}${path.replaceAll(/\{\w+\}/g, 'x')}`
        const { status } = await fetch(url, { method })
        return { path, isOpen: security?.length === 0, status }
      }),
    )

    expect(answers.filter(({ isOpen }) => isOpen).map(({ path, status }) => [path, status])).toEqual([
      ['/healthz', 200],
      ['/readyz', 200],
      ['/metrics', 200],
    ])
    expect(answers.filter(({ isOpen, status }) => !isOpen && status !== 401)).toEqual([])
    expect(answers.length).toBeGreaterThan(15)
  })

  test('describes no route that there is not', async () => {
    await using api = await startAdminApi()

    const missing = await Promise.all(
      operations.map(async ({ method, path }) => {
        const url = `http://127.0.0.1:${api.server.address.port}${path.replaceAll(/\{\w+\}/g, 'x')}`
        const response = await fetch(url, { method, headers: { authorization: `Bearer ${adminToken}` } })
        return (await response.text()).includes('"Not found"') ? `${method} ${path}` : []
      }),
    )

    expect(missing.flat()).toEqual([])
  })
})

describe('holding answers against the description', () => {
  test.each([
    ['GET', '/healthz', 200, 'application/json', { status: 'alive' }],
    ['GET', '/readyz', 503, 'application/json', { status: 'not ready', issuers: {} }],
    ['GET', '/metrics', 200, 'text/plain', 'up 1\n'],
    ['DELETE', '/api/webhooks/a', 204, '', ''],
    ['POST', '/api/deliveries/replay', 200, 'application/json', { replayed: 1, more: false }],
    ['GET', '/api/webhooks/a', 404, 'application/problem+json', { title: 'No', status: 404 }],
  ])('takes a good one to %s %s', (method, path, status, type, body) => {
    expect(() => holdAgainstDescription(method, path, status, type, body)).not.toThrow()
  })

  test.each([
    ['GET', '/api/nothing', 200, 'application/json', {}, 'GET /api/nothing is not described'],
    ['GET', '/healthz', 500, 'application/json', {}, 'getHealth answers 500, which is not described'],
    ['GET', '/healthz', 200, 'text/html', '', 'getHealth answers 200 by text/html, which is not described'],
    ['GET', '/healthz', 200, 'application/json', { status: 'dead' }, 'by another body: data/status'],
    [
      'GET',
      '/api/webhooks',
      200,
      'application/json',
      { webhooks: [{ secret: 's' }] },
      'additional properties',
    ],
  ])('finds what is wrong with one to %s %s', (method, path, status, type, body, problem) => {
    expect(() => holdAgainstDescription(method, path, status, type, body)).toThrow(problem)
  })
})
