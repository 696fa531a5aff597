import { createSecretKey } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { type DecisionMetadata, decisionMetadata } from '../../src/core/decision.ts'
import type { Struct, Struct__Output } from '../../src/envoy/gen/google/protobuf/Struct.ts'
import { createSeal } from '../../src/envoy/seal.ts'
import { fromStruct, toStruct } from '../../src/envoy/struct.ts'
import { alice, allowWith, denyWith } from '../support/decisions.ts'

const seal = createSeal()
const fields: DecisionMetadata = decisionMetadata(allowWith({ caller: alice }), 'request-1')

/** Closes a decision and changes fields of the metadata afterwards; undefined takes one away. */
function closedWith(changes: Record<string, string | number | undefined> = {}): Struct__Output {
  const changed: Record<string, string | number | undefined> = {
    ...fromStruct(seal.close(fields) as Struct__Output),
    ...changes,
  }
  const present = Object.entries(changed).filter(([, value]) => value !== undefined)
  return toStruct(Object.fromEntries(present) as Record<string, string | number>) as Struct__Output
}

describe('a seal opens what it closed', () => {
  test('with the identity of an allow', () => {
    expect(seal.open(seal.close(fields) as Struct__Output)).toEqual({
      kind: 'allow',
      route: 'orders',
      service: 'order-service',
      userId: 'alice',
      clientId: 'shop',
    })
  })

  test('with the route of a denial, and without what was not known', () => {
    const { service: _service, ...route } = denyWith('missing_token').route
    const denied = decisionMetadata(denyWith('missing_token', { route }), '')

    expect(seal.open(seal.close(denied) as Struct__Output)).toEqual({ kind: 'deny', route: 'orders' })
  })

  test('with the state of the circuit, and what only reported', () => {
    const allowed = allowWith({
      admission: { generation: 3, probe: true },
      shadow: [
        { part: 'auth', reason: 'invalid_token' },
        { part: 'circuit', reason: 'circuit_open' },
      ],
    })

    expect(seal.open(seal.close(decisionMetadata(allowed, '')) as Struct__Output)).toMatchObject({
      circuitGeneration: 3,
      shadow: ['invalid_token', 'circuit_open'],
    })
  })

  test('whatever other fields a filter has written beside it', () => {
    expect(seal.open(closedWith({ extra: 'x', userId: 'root', status_code: 7 }))).toMatchObject({
      userId: 'alice',
    })
  })

  test('with a key that it shares', () => {
    const key = createSecretKey(Buffer.alloc(32, 7))

    expect(createSeal(key).open(createSeal(key).close(fields) as Struct__Output)).toMatchObject({
      kind: 'allow',
    })
  })
})

describe('a seal does not open', () => {
  test.each(Object.keys(fields))('a decision whose %s was overwritten', (name) => {
    const other = typeof fields[name as keyof DecisionMetadata] === 'number' ? 401 : 'forged'

    expect(seal.open(closedWith({ [name]: other }))).toBeUndefined()
  })

  test.each(Object.keys(fields))('a decision whose %s was taken away', (name) => {
    expect(seal.open(closedWith({ [name]: undefined }))).toBeUndefined()
  })

  test('a decision whose fields were exchanged', () => {
    expect(seal.open(closedWith({ user_id: 'shop', client_id: 'alice' }))).toBeUndefined()
  })

  test('a decision whose number became a text', () => {
    expect(seal.open(closedWith({ status: '0' }))).toBeUndefined()
  })

  test.each([
    ['none', undefined],
    ['an empty one', ''],
    ['another one', 'A'.repeat(43)],
    ['a short one', 'AAAA'],
    ['one of other bytes', 'ä💥'],
    ['a number', 7],
  ])('a decision with %s as its seal', (_what, forged) => {
    expect(seal.open(closedWith({ seal: forged }))).toBeUndefined()
  })

  test.each<[string, Struct]>([
    ['a list', { fields: { seal: { listValue: { values: [] } } } }],
    ['a struct', { fields: { seal: { structValue: { fields: {} } } } }],
    ['null', { fields: { seal: { nullValue: 'NULL_VALUE' } } }],
    ['nothing', { fields: { seal: {} } }],
  ])('metadata with %s as its seal', (_what, metadata) => {
    expect(seal.open(metadata as Struct__Output)).toBeUndefined()
  })

  test.each([
    ['no metadata', undefined],
    ['empty metadata', {}],
    ['metadata without fields', { fields: {} }],
  ])('%s', (_what, metadata) => {
    expect(seal.open(metadata)).toBeUndefined()
  })

  test('what another process closed', () => {
    expect(seal.open(createSeal().close(fields) as Struct__Output)).toBeUndefined()
  })
})

test('two decisions have two seals, and the same one always the same', () => {
  const sealOf = (metadata: DecisionMetadata) => fromStruct(seal.close(metadata) as Struct__Output)['seal']

  expect(sealOf(fields)).toBe(sealOf({ ...fields }))
  expect(sealOf({ ...fields, decision_id: 'other' })).not.toBe(sealOf(fields))
})
