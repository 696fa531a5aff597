import { createHash } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { type ApiKeyEntry, createApiKeys, newApiKey } from '../../src/auth/api-keys.ts'

const nowMs = Date.UTC(2030, 0, 1)

/** A key and its entry. */
function issued(more: Partial<ApiKeyEntry> = {}): { key: string; entry: ApiKeyEntry } {
  const { key, id, hash } = newApiKey()
  const bytes = Buffer.from(hash.replace('sha256:', ''), 'hex')
  return { key, entry: { id, clientId: 'ci', hash: bytes, scopes: ['deploy'], ...more } }
}

function verifierOf(...entries: readonly ApiKeyEntry[]) {
  const byId = new Map(entries.map((entry) => [entry.id, entry]))
  return createApiKeys(() => byId)
}

describe('a new key', () => {
  test('is gp_, a public id and 256 random bits; its hash is that of the whole key', () => {
    const { key, id, hash } = newApiKey()

    const [, ownId, secret = ''] = /^gp_(k[0-9a-f]{12})_([A-Za-z0-9_-]{43})$/.exec(key) ?? []
    expect(ownId).toBe(id)
    expect(Buffer.from(secret, 'base64url')).toHaveLength(32)
    expect(hash).toBe(`sha256:${createHash('sha256').update(key).digest('hex')}`)
  })

  test('is another one each time', () => {
    const keys = Array.from({ length: 100 }, newApiKey)

    expect(new Set(keys.map(({ key }) => key)).size).toBe(100)
    expect(new Set(keys.map(({ id }) => id)).size).toBe(100)
  })
})

describe('a key that is known', () => {
  test('names its client with its scopes, and vouches by Gatepost itself', () => {
    const { key, entry } = issued()

    expect(verifierOf(entry)(key, nowMs)).toEqual({
      kind: 'key',
      issuer: 'urn:gatepost:api-keys',
      clientId: 'ci',
      scopes: ['deploy'],
      claims: {},
    })
  })

  test('is told from its neighbours by its id', () => {
    const [one, two] = [issued({ clientId: 'one' }), issued({ clientId: 'two' })]
    const verify = verifierOf(one.entry, two.entry)

    expect(verify(two.key, nowMs)).toMatchObject({ clientId: 'two' })
  })

  test.each([
    ['a moment before it expires', -1, { kind: 'key' }],
    [
      'from the moment on at which it expires',
      0,
      { kind: 'denial', reason: 'invalid_api_key', cause: 'expired' },
    ],
  ])('%s', (_when, offsetMs, outcome) => {
    const { key, entry } = issued({ expiresAtMs: nowMs })

    expect(verifierOf(entry)(key, nowMs + offsetMs)).toMatchObject(outcome)
  })

  test('is looked up anew each time: what the file says now counts', () => {
    const { key, entry } = issued()
    let entries = new Map<string, ApiKeyEntry>()
    const verify = createApiKeys(() => entries)

    const before = verify(key, nowMs)
    entries = new Map([[entry.id, entry]])
    const meanwhile = verify(key, nowMs)
    entries = new Map()
    const after = verify(key, nowMs)

    expect([before.kind, meanwhile.kind, after.kind]).toEqual(['denial', 'key', 'denial'])
  })
})

describe('a key is refused', () => {
  const unknown = { kind: 'denial', reason: 'invalid_api_key', cause: 'unknown_key' }

  test('where its id is unknown', () => {
    expect(verifierOf(issued().entry)(issued().key, nowMs)).toMatchObject(unknown)
  })

  test('where its secret is another', () => {
    const { entry } = issued()

    const forged = `gp_${entry.id}_${'A'.repeat(43)}`

    expect(verifierOf(entry)(forged, nowMs)).toMatchObject({ ...unknown, cause: 'wrong_secret' })
  })

  test.each([
    ['empty', () => ''],
    ['something else', () => 'hunter2'],
    ['cut short', (key: string) => key.slice(0, -1)],
    ['longer', (key: string) => `${key}A`],
    ['in capitals', (key: string) => key.toUpperCase()],
    ['quoted', (key: string) => `"${key}"`],
    ['followed by a line', (key: string) => `${key}\n`],
    ['enormous', (key: string) => key.repeat(10_000)],
  ])('where it is %s', (_what, change) => {
    const { key, entry } = issued()

    expect(verifierOf(entry)(change(key), nowMs)).toMatchObject(unknown)
  })

  test('where it is sent twice, which Envoy joins by a comma', () => {
    const { key, entry } = issued()

    const refusal = verifierOf(entry)(`${key},${key}`, nowMs)

    expect(refusal).toMatchObject({ ...unknown, cause: 'repeated_key' })
  })

  test('where its entry holds no hash of a key: one of an empty text, say', () => {
    const { entry } = issued({ hash: createHash('sha256').update('').digest() })

    expect(verifierOf(entry)('', nowMs)).toMatchObject(unknown)
  })

  test('without a word of what was shown', () => {
    const { key, entry } = issued({ expiresAtMs: nowMs })

    const refusals = [verifierOf(entry)(key, nowMs), verifierOf()(key, nowMs)]

    expect(JSON.stringify(refusals)).not.toContain(key.slice(3))
    expect(JSON.stringify(refusals)).not.toContain(entry.id)
  })

  test('in the same words whether its id is known or not', () => {
    const { entry } = issued()
    const forged = `gp_${entry.id}_${'A'.repeat(43)}`

    expect(verifierOf(entry)(forged, nowMs)).toEqual({
      ...verifierOf()(forged, nowMs),
      cause: 'wrong_secret',
    })
  })
})
