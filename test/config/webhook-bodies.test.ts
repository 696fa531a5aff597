import { describe, expect, test } from '@jest/globals'
import { webhookBodies } from '../../src/config/webhook-bodies.ts'
import { webhooksSchema } from '../../src/config/webhooks.ts'

const { draftSchema, changeSchema, draft, change } = webhookBodies
const ofFile = Object.keys(webhooksSchema.properties.webhooks.items.properties)

test('a new endpoint may say what the file says, but for what is the machine’s', () => {
  const local = ['secret_file', 'old_secrets']

  expect(Object.keys(draftSchema.properties).sort()).toEqual(
    ofFile.filter((key) => !local.includes(key)).sort(),
  )
  expect(draftSchema.required).toEqual(['url'])
})

test('a change may say the same, but for the id and the secret', () => {
  const fixed = ['id', 'secret']

  expect(Object.keys(changeSchema.properties).sort()).toEqual(
    Object.keys(draftSchema.properties)
      .filter((key) => !fixed.includes(key))
      .sort(),
  )
  expect(changeSchema.required).toBeUndefined()
})

test('no description promises that the environment is read', () => {
  const told = JSON.stringify([draftSchema, changeSchema])

  expect(told).toContain('Where deliveries go, by https.')
  expect(told).not.toMatch(/environment|braces|A file with/)
})

describe('what is absent stays absent', () => {
  test('in a new endpoint', () => {
    expect(draft({ url: 'https://a.example/' })).toEqual({ url: 'https://a.example/' })
    expect(Object.keys(draft({ url: 'https://a.example/' }))).toEqual(['url'])
  })

  test('in a change, and null stays null', () => {
    const nothing = { events: null, retry_policy: null, rate_limit: null, timeout_seconds: null }

    expect(change({ active: false })).toStrictEqual({ active: false })
    expect(change(nothing)).toStrictEqual({
      events: null,
      retryPolicy: null,
      rateLimit: null,
      timeoutSeconds: null,
    })
  })

  test('in a retry policy', () => {
    expect(change({ retry_policy: { backoff_seconds: 5 } })).toStrictEqual({
      retryPolicy: { backoffSeconds: 5 },
    })
  })
})
