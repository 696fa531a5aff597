import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { fullFormats } from 'ajv-formats/dist/formats.js'
import { parse } from 'yaml'
import { schemaDir } from '../../scripts/events.ts'
import { asyncApiDocument, asyncApiText } from '../../src/events/asyncapi.ts'
import { eventTypes } from '../../src/events/catalogue.ts'
import { describeEvents } from '../../src/events/catalogue-entries.ts'
import { cloudEventAttributes } from '../../src/events/cloudevents.ts'
import { checkAsyncApi } from '../support/asyncapi.ts'

const committed = readFileSync(join(schemaDir, 'asyncapi.yaml'), 'utf8')

describe("the AsyncAPI document, by AsyncAPI's own parser,", () => {
  test('has no error and no warning', async () => {
    expect(await checkAsyncApi(committed)).toEqual([])
  })

  test.each([
    [
      'a message that is not there',
      (text: string) => text.replace('messages/kafka.auth.failed', 'messages/none'),
    ],
    ['a binding that there is not', (text: string) => text.replace('type: topic', 'type: magic')],
  ])('would have one, were there %s', async (_what, spoil) => {
    const spoilt = spoil(committed)

    expect(spoilt).not.toBe(committed)
    expect(await checkAsyncApi(spoilt)).not.toEqual([])
  })
})

const { channels, components, operations } = asyncApiDocument('1.2.3')
const sent: Readonly<Record<string, object>> = operations
const ajv = new Ajv2020({ formats: fullFormats, strict: true, allErrors: true })

/** What a reference within the document points to. */
function follow({ $ref }: { $ref: string }): unknown {
  let found: unknown = { channels, components }
  for (const key of $ref.slice(2).split('/')) found = (found as Record<string, unknown>)[key]
  return found
}

interface Message {
  payload: { $ref: string }
  examples: {
    headers: Record<string, string>
    payload: { event_type: string; data: { client_id?: string } }
  }[]
}

test.each(describeEvents())(
  '$type goes to its topic and to the exchange, by Gatepost alone',
  ({ type, topic }) => {
    const listing = Object.entries(channels).filter(([, { messages }]) => type in messages)

    expect(listing.map(([name]) => name)).toEqual([topic, 'gateway.events'])
    for (const [name, channel] of listing) {
      expect(follow(channel.messages[type] as { $ref: string })).toMatchObject({ name: type, title: type })
      expect(sent[`send.${name}`]).toMatchObject({
        action: 'send',
        channel: { $ref: `#/channels/${name}` },
      })
    }
  },
)

test('a queue may bind to each type and to nothing else', () => {
  expect(channels['gateway.events']).toMatchObject({ parameters: { event_type: { enum: eventTypes } } })
})

describe.each([
  ['kafka', 'ce_', { 'content-type': 'application/json' }],
  ['rabbitmq', 'cloudEvents:', {}],
] as const)('the headers for %s', (broker, prefix, others) => {
  const validate = ajv.compile({ ...components.messageTraits[broker].headers, additionalProperties: false })
  const event = {
    id: '9f3b6c3e-2c3d-4f43-8f0f-0c1d1f1e2a3b',
    type: 'auth.failed',
    timestamp: '2030-01-01T00:00:00.000Z',
    requestId: undefined,
    json: '{}',
  } as const

  test.each(['shop', undefined])('are those that the sinks make, for the client %s', (clientId) => {
    const headers = { ...others, ...cloudEventAttributes({ ...event, clientId }, prefix) }

    validate(headers)

    expect(validate.errors).toBeNull()
  })

  test.each(eventTypes)('are shown by an example for %s, whose event is valid as well', (type) => {
    const { examples, payload } = components.messages[`${broker}.${type}`] as Message

    const event = ajv.compile(follow(payload) as object)
    expect(examples).toHaveLength(1)
    for (const example of examples) {
      validate(example.headers)
      event(example.payload)
      expect([validate.errors, event.errors]).toEqual([null, null])
      expect([example.headers[`${prefix}type`], example.payload.event_type]).toEqual([type, type])
      expect(example.headers[`${prefix}subject`]).toBe(example.payload.data.client_id)
    }
  })

  test('are not valid without an id', () => {
    const { [`${prefix}id`]: _id, ...headers } = cloudEventAttributes({ ...event, clientId: 'shop' }, prefix)

    expect(validate({ ...others, ...headers })).toBe(false)
  })
})

test('is one document, whether as YAML or as JSON, and bears the version of the package', () => {
  const yaml = parse(asyncApiText('1.2.3', 'yaml')) as ReturnType<typeof asyncApiDocument>

  expect(yaml).toEqual(JSON.parse(asyncApiText('1.2.3', 'json')))
  expect(yaml.info.version).toBe('1.2.3')
})
