import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { fillPage, generatedFiles, generatedNames, pagePath, schemaDir } from '../../scripts/events.ts'
import { authFailed } from '../../src/core/auth-failed.ts'
import { deny } from '../../src/core/denials.ts'
import { eventTopics, type GatewayEvent, type Happening } from '../../src/core/events.ts'
import type { Caller } from '../../src/core/identity.ts'
import { requestCompleted } from '../../src/core/outcome.ts'
import { personalFields } from '../../src/core/privacy.ts'
import { createBus } from '../../src/events/bus.ts'
import { catalogue, eventTypes, maxEventBytes } from '../../src/events/catalogue.ts'
import { describeEvents } from '../../src/events/catalogue-entries.ts'
import { expectValidEvent } from '../support/event-schema.ts'
import { outcomeWith } from '../support/outcomes.ts'
import { requestWith } from '../support/requests.ts'

describe('docs/events', () => {
  test('has what the catalogue says now, and nothing of an earlier one (mend: npm run generate)', () => {
    const committed = generatedNames().map((name) => [name, readFileSync(join(schemaDir, name), 'utf8')])

    expect(Object.fromEntries(committed)).toEqual(Object.fromEntries(generatedFiles()))
  })

  test('has a page whose tables are those of the catalogue (mend: npm run generate)', () => {
    const page = readFileSync(pagePath, 'utf8')

    expect(page).toBe(fillPage(page))
    for (const type of eventTypes) expect(page).toContain(`### ${type}\n`)
  })
})

test.each(describeEvents().map((entry) => [entry.type, entry] as const))(
  '%s is described: says what it is, when it is told, and by a valid example with every field it must have',
  (type, { meaning, occasion, topic, routingKey, fields, example }) => {
    expect([meaning, occasion]).toEqual([expect.stringMatching(/\w\.$/), expect.stringMatching(/\w\)?\.$/)])
    expect([topic, routingKey]).toEqual([expect.stringMatching(/^gateway\.[a-z_]+$/), type])
    expect(fields.filter(({ description }) => description === '')).toEqual([])
    expect(expectValidEvent(example).event_type).toBe(type)
  },
)

test('every type has its Kafka topic', () => {
  expect(Object.keys(eventTopics).sort()).toEqual([...eventTypes].sort())
})

test.each(eventTypes)('no event of type %s must tell of a person', (type) => {
  const required: readonly string[] = catalogue[type].required

  expect(personalFields.filter((field) => required.includes(field))).toEqual([])
})

function enveloped(happening: Happening): GatewayEvent {
  const events: GatewayEvent[] = []
  const bus = createBus({
    sinks: [{ name: 'kept', write: (batch) => events.push(...batch) }],
    capacity: 1,
    newId: () => '9f3b6c3e-2c3d-4f43-8f0f-0c1d1f1e2a3b',
    defer: () => undefined,
    onPublished: () => undefined,
    onDrop: () => undefined,
  })
  bus.publish(happening)
  bus.flush()
  return events[0] as GatewayEvent
}

const times = { atMs: Date.UTC(2030, 0, 1) }
const allFlags = Array.from({ length: 28 }, () => 'UMSDR')
/** What a token may carry is bounded by `auth`, and holds no control characters. */
const longestName = 1_024
const longestLabel = 128

/** Every field as long as its source lets it be, of one character throughout. */
function longest(character: string) {
  const text = (length: number) => character.repeat(length)
  const name = /\p{Cc}|\p{Cs}/u.test(character) ? 'n' : character
  const names = name.repeat(longestName / name.length)
  const caller: Caller = {
    kind: 'token',
    issuer: name.repeat(2_048 / name.length),
    userId: names,
    clientId: names,
    scopes: [],
    claims: {},
  }
  const route = { name: text(longestLabel / character.length), auth: 'required' as const, scopes: [] }
  const requestId = text(256 / character.length)
  const outcome = outcomeWith({
    method: text(60_000),
    path: text(60_000),
    userAgent: text(60_000),
    requestId,
    clientAddress: 'ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255',
    bytesIn: Number.MAX_SAFE_INTEGER,
    bytesOut: Number.MAX_SAFE_INTEGER,
    durationMs: 123_456_789.123_456,
    responseFlags: allFlags,
    upstreamCluster: text(60_000),
    cacheStatus: 'miss',
    traceId: 'a'.repeat(32),
    decision: { kind: 'allow', route: route.name, userId: names, clientId: names },
  })
  const request = requestWith(
    {},
    { path: text(60_000), requestId, clientAddress: outcome.clientAddress as string },
  )
  const denial = deny('insufficient_scope', 'No.')
  return [
    { ...times, type: 'request.completed', requestId, data: requestCompleted(outcome) },
    {
      ...times,
      type: 'auth.failed',
      requestId,
      data: authFailed(request, { route, caller, denial }),
    },
  ] satisfies Happening[]
}

describe.each([
  ['plain letters', 'a'],
  ['quotes', '"'],
  ['backslashes', '\\'],
  ['line feeds', '\n'],
  ['control characters', '\u0001'],
  ['two-byte characters', 'é'],
  ['three-byte characters', '日'],
  ['four-byte characters', '😀'],
  ['halves of characters', '\ud83d'],
])('with every field as long as it can be and full of %s', (_what, character) => {
  test.each(longest(character).map((happening) => [happening.type, happening] as const))(
    '%s is valid and takes at most 16 KiB',
    (_type, happening) => {
      const event = expectValidEvent(enveloped(happening))

      expect(Buffer.byteLength(JSON.stringify(event))).toBeLessThanOrEqual(maxEventBytes)
    },
  )
})

describe('the schema of request.completed refuses', () => {
  const data = requestCompleted(outcomeWith())
  const event = enveloped({ ...times, type: 'request.completed', requestId: 'r', data })

  test.each([
    ['an unknown field', { data: { ...data, query: 'secret' } }],
    ['a missing field', { data: { ...data, route: undefined } }],
    ['a long path', { data: { ...data, path: '/'.repeat(2_049) } }],
    ['an unknown verdict', { data: { ...data, decision: 'maybe' } }],
    ['a time that is none', { timestamp: 'yesterday' }],
    ['an id that is none', { id: '7' }],
    ['an unknown type', { event_type: 'request.started' }],
    ['an unknown field beside the data', { secret: 'x' }],
    ['too many bytes', { data: { ...data, response_flags: Array(2_100).fill('UMSDR') } }],
  ])('%s', (_what, change) => {
    const changed = JSON.parse(JSON.stringify({ ...event, ...change })) as unknown

    expect(() => expectValidEvent(event)).not.toThrow()
    expect(() => expectValidEvent(changed)).toThrow('Cannot accept the event')
  })
})
