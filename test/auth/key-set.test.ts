import { beforeAll, describe, expect, test } from '@jest/globals'
import { KeySet, type KeySetParts, type KeyStore, type StoredKeys } from '../../src/auth/key-set.ts'
import { Fault } from '../../src/core/fault.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createLogLines } from '../support/log-lines.ts'
import { ScriptedKeys } from '../support/scripted-keys.ts'
import { createSigner, type Signer } from '../support/signer.ts'
import { until } from '../support/until.ts'

const minute = 60_000
const hour = 60 * minute

let first: Signer
let second: Signer
let nameless: Signer

beforeAll(async () => {
  ;[first, second, nameless] = await Promise.all([
    createSigner('ES256', 'first'),
    createSigner('ES256', 'second'),
    createSigner('ES256'),
  ])
})

function setUp(parts: Partial<KeySetParts> = {}) {
  const clock = new FakeClock()
  const keys = new ScriptedKeys()
  const { logger, lines } = createLogLines()
  const ended: string[] = []
  const keySet = new KeySet({
    name: 'test',
    algorithms: ['ES256'],
    fetchKeys: keys.fetchKeys,
    clock,
    logger,
    onFetch: (result) => ended.push(result),
    random: () => 0.5,
    ...parts,
  })
  const idsFor = async (keyId: string | undefined) =>
    (await keySet.find(keyId, 'ES256')).map((key) => key.keyId)
  /** Moves the time on, then waits until so many fetches have ended in all. */
  const advance = async (ms: number, fetches: number) => {
    await clock.advance(ms)
    await until(() => ended.length === fetches)
    await clock.advance(0)
  }
  return { clock, keys, lines, ended, keySet, idsFor, advance }
}

class MemoryStore implements KeyStore {
  kept: StoredKeys | undefined

  constructor(kept?: StoredKeys) {
    this.kept = kept
  }

  load(): StoredKeys | undefined {
    return this.kept
  }

  save(kept: StoredKeys): void {
    this.kept = kept
  }
}

describe('before they are needed', () => {
  test('keys are fetched once, and no request fetches them again', async () => {
    const { keys, keySet, idsFor, ended } = setUp()
    keys.publish(first.jwk, second.jwk)

    await keySet.start()

    expect(await idsFor('first')).toEqual(['first'])
    expect(await idsFor('second')).toEqual(['second'])
    expect({ fetches: keys.fetches, ended }).toEqual({ fetches: 1, ended: ['ok'] })
    expect(keySet.state).toEqual({ keys: 2, ageMs: 0 })
  })

  test('a request that comes during the first fetch waits for it', async () => {
    const { keys, keySet, idsFor } = setUp()
    const answer = keys.hang()
    const started = keySet.start()

    const found = idsFor('first')
    answer(first.jwk)

    expect(await found).toEqual(['first'])
    expect(keys.fetches).toBe(1)
    await started
  })

  test('but no longer than half a second: then it is a fault', async () => {
    const { clock, keys, keySet } = setUp()
    const answer = keys.hang()
    const started = keySet.start()

    const found = keySet.find('first', 'ES256').catch((error: unknown) => error)
    await clock.advance(500)

    expect(await found).toBeInstanceOf(Fault)
    expect(await found).toMatchObject({
      part: 'auth',
      message: 'Cannot verify tokens of issuer test: it has no keys, they are still being fetched',
    })
    answer(first.jwk)
    await started
  })

  test('an issuer that never gave keys is a fault that says why, and is not asked again by requests', async () => {
    const { keys, keySet } = setUp()
    keys.fail('connection refused')
    await keySet.start()

    const found = Promise.allSettled([keySet.find('first', 'ES256'), keySet.find(undefined, 'ES256')])

    expect(await found).toMatchObject([
      {
        status: 'rejected',
        reason: { part: 'auth', message: expect.stringContaining('connection refused') },
      },
      { status: 'rejected' },
    ])
    expect(keys.fetches).toBe(1)
    expect(keySet.state).toEqual({ keys: 0, error: 'connection refused' })
  })
})

describe('which keys', () => {
  test('a token without key id may be of each fitting key', async () => {
    const { keys, keySet, idsFor } = setUp()
    keys.publish(first.jwk, nameless.jwk)

    await keySet.start()

    expect(await idsFor(undefined)).toEqual(['first', undefined])
  })

  test('a token with key id is only of a key so named', async () => {
    const { keys, keySet, idsFor } = setUp()
    keys.publish(first.jwk, nameless.jwk)

    await keySet.start()

    expect(await idsFor('first')).toEqual(['first'])
    expect(await idsFor('undefined')).toEqual([])
  })

  test('a key that does not fit the algorithm is none', async () => {
    const { keys, keySet } = setUp({ algorithms: ['ES256', 'RS256'] })
    keys.publish(first.jwk)

    await keySet.start()

    expect(await keySet.find(undefined, 'RS256')).toEqual([])
    expect(await keySet.find('first', 'RS256')).toEqual([])
  })

  test('a key that is published twice is one key, and no change at each refresh', async () => {
    const { keys, keySet, idsFor, advance, lines } = setUp()
    keys.publish(first.jwk, first.jwk)
    await keySet.start()

    await advance(5 * minute, 2)

    expect(await idsFor('first')).toEqual(['first'])
    expect(lines.filter(({ message }) => message === 'issuer keys changed')).toHaveLength(1)
  })
})

describe('in the background', () => {
  test.each([
    [0, 270_000],
    [0.5, 300_000],
    [0.999, 329_940],
  ])('the next refresh is five minutes away, give or take a tenth (random %d: %d ms)', async (random, ms) => {
    const { clock, keys, keySet } = setUp({ random: () => random })
    keys.publish(first.jwk)

    await keySet.start()

    expect(clock.pending.map(Math.round)).toEqual([ms])
  })

  test('a refresh brings new keys and withdraws old ones, without any request', async () => {
    const { keys, keySet, idsFor, advance } = setUp()
    keys.publish(first.jwk)
    await keySet.start()
    const [withdrawn] = await keySet.find('first', 'ES256')

    keys.publish(second.jwk)
    await advance(5 * minute, 2)

    expect(withdrawn?.active).toBe(false)
    expect(await idsFor('second')).toEqual(['second'])
    expect(keys.fetches).toBe(2)
  })

  test('a key that is still published stays the same object', async () => {
    const { keys, keySet, advance } = setUp()
    keys.publish(first.jwk)
    await keySet.start()
    const before = await keySet.find('first', 'ES256')

    keys.publish(second.jwk, first.jwk)
    await advance(5 * minute, 2)

    const after = await keySet.find('first', 'ES256')
    expect(after[0]).toBe(before[0])
    expect(after[0]?.active).toBe(true)
  })

  test('a key that comes back after it was withdrawn is another object: what it verified stays forgotten', async () => {
    const { keys, keySet, advance } = setUp()
    keys.publish(first.jwk)
    await keySet.start()
    const [before] = await keySet.find('first', 'ES256')
    keys.publish(second.jwk)
    await advance(5 * minute, 2)

    keys.publish(first.jwk)
    await advance(5 * minute, 3)

    const [after] = await keySet.find('first', 'ES256')
    expect(before?.active).toBe(false)
    expect(after?.active).toBe(true)
  })

  test('after failures the waits double up to five minutes, and are five minutes again after a success', async () => {
    const { clock, keys, keySet, advance } = setUp()
    keys.fail()
    await keySet.start()
    const waits: number[] = []

    for (let fetches = 2; fetches <= 12; fetches += 1) {
      const [wait = 0] = clock.pending
      waits.push(wait / 1_000)
      await advance(wait, fetches)
    }
    keys.publish(first.jwk)
    await advance(clock.pending[0] ?? 0, 13)

    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])
    expect(clock.pending).toEqual([300_000])
    expect(keySet.state).toEqual({ keys: 1, ageMs: 0 })
  })

  test('failures are warnings that name the issuer, and the recovery is told once', async () => {
    const { clock, keys, keySet, advance, lines } = setUp()
    keys.fail()
    await keySet.start()

    keys.publish(first.jwk)
    await advance(clock.pending[0] ?? 0, 2)
    await advance(5 * minute, 3)

    expect(lines.map(({ level, message }) => `${level}: ${message}`)).toEqual([
      'warn: issuer keys not fetched',
      'info: issuer keys changed',
      'info: issuer keys fetched again',
    ])
    expect(lines[0]?.fields).toMatchObject({ issuer: 'test', failures: 1, keys: 0 })
  })

  test('nothing is fetched after the end, not even by a fetch that was under way', async () => {
    const { clock, keys, keySet } = setUp()
    const answer = keys.hang()
    const started = keySet.start()

    const closed = keySet.close()
    answer(first.jwk)
    await Promise.all([started, closed])

    expect(clock.pending).toEqual([])
  })

  test('closing calls the next refresh off and leaves the keys to requests under way', async () => {
    const { clock, keys, keySet, idsFor } = setUp()
    keys.publish(first.jwk)
    await keySet.start()

    await keySet.close()

    expect(clock.pending).toEqual([])
    expect(await idsFor('first')).toEqual(['first'])
  })
})

describe('while the issuer is down', () => {
  test('the last good keys serve on, and the state says how old they are and why', async () => {
    const { keys, keySet, idsFor, advance } = setUp()
    keys.publish(first.jwk)
    await keySet.start()

    keys.fail('status 503')
    await advance(5 * minute, 2)

    expect(await idsFor('first')).toEqual(['first'])
    expect(keySet.state).toEqual({ keys: 1, ageMs: 5 * minute, error: 'status 503' })
  })

  test('for less than 24 hours: then every token is a fault', async () => {
    const { clock, keys, keySet, idsFor, ended } = setUp()
    keys.publish(first.jwk)
    await keySet.start()
    keys.fail()

    await clock.advance(24 * hour - 1)
    const last = await idsFor('first')
    await clock.advance(1)

    expect(last).toEqual(['first'])
    await expect(keySet.find('first', 'ES256')).rejects.toThrow(Fault)
    expect(new Set(ended.slice(1))).toEqual(new Set(['failed']))
  })

  test('keys that were too old serve again once the issuer is back', async () => {
    const { clock, keys, keySet, idsFor, ended } = setUp()
    keys.publish(first.jwk)
    await keySet.start()
    keys.fail()
    await clock.advance(25 * hour)

    keys.publish(first.jwk)
    await clock.advance(5 * minute)
    await until(() => ended.at(-1) === 'ok')

    expect(await idsFor('first')).toEqual(['first'])
  })

  test.each([
    ['is empty', { keys: [] }, 'it is empty'],
    [
      'holds only bad keys',
      { keys: [{ kty: 'oct', k: 'AA' }, { kty: 'PQC' }] },
      'a symmetric key; of type "PQC"',
    ],
    ['is none', { error: 'not here' }, 'it has no array "keys"'],
  ])('a key set that %s counts as a failure and withdraws nothing', async (_what, document, why) => {
    const { keys, keySet, idsFor, advance, ended } = setUp()
    keys.publish(first.jwk)
    await keySet.start()
    const [key] = await keySet.find('first', 'ES256')

    keys.document(document)
    await advance(5 * minute, 2)

    expect(ended).toEqual(['ok', 'failed'])
    expect(keySet.state.error).toContain(why)
    expect(await idsFor('first')).toEqual(['first'])
    expect(key?.active).toBe(true)
  })
})

describe('a key id that nobody knows', () => {
  test('is fetched for, so that a rotation needs no waiting', async () => {
    const { keys, keySet, idsFor } = setUp()
    keys.publish(first.jwk)
    await keySet.start()

    keys.publish(first.jwk, second.jwk)

    expect(await idsFor('second')).toEqual(['second'])
    expect(keys.fetches).toBe(2)
  })

  test('is fetched for once by a hundred requests at a time', async () => {
    const { keys, keySet, idsFor } = setUp()
    keys.publish(first.jwk)
    await keySet.start()
    const answer = keys.hang()

    const found = Promise.all(Array.from({ length: 100 }, () => idsFor('second')))
    answer(first.jwk, second.jwk)

    expect(new Set((await found).flat())).toEqual(new Set(['second']))
    expect(keys.fetches).toBe(2)
  })

  test('causes one fetch in ten seconds, however many are invented', async () => {
    const { clock, keys, keySet, idsFor } = setUp()
    keys.publish(first.jwk)
    await keySet.start()

    for (let at = 0; at < 20; at += 1) await idsFor(`invented-${at}`)
    const within = keys.fetches
    await clock.advance(9_999)
    await idsFor('invented-later')
    const stillWithin = keys.fetches
    await clock.advance(1)
    await idsFor('invented-after')

    expect([within, stillWithin, keys.fetches]).toEqual([2, 2, 3])
  })

  test('does not hold up requests for known keys', async () => {
    const { clock, keys, keySet, idsFor } = setUp()
    keys.publish(first.jwk)
    await keySet.start()
    keys.hang()

    const unknown = idsFor('invented')

    expect(await idsFor('first')).toEqual(['first'])
    await clock.advance(500)
    expect(await unknown).toEqual([])
  })

  test('waits half a second for its fetch, and leaves nothing behind when that is over', async () => {
    const { clock, keys, keySet, idsFor } = setUp()
    keys.publish(first.jwk)
    await keySet.start()
    keys.hang()

    const found = idsFor('second')
    await clock.advance(0)
    const whileWaiting = clock.pending
    await clock.advance(500)

    expect(await found).toEqual([])
    expect(whileWaiting).toEqual([500, 300_000])
    expect(clock.pending).toEqual([299_500])
  })

  test('is simply unknown while the issuer is down', async () => {
    const { keys, keySet, idsFor } = setUp()
    keys.publish(first.jwk)
    await keySet.start()
    keys.fail()

    expect(await idsFor('second')).toEqual([])
    expect(keySet.state.error).toBe('connection refused')
  })
})

describe('across restarts', () => {
  test('what was fetched is kept, with the time', async () => {
    const store = new MemoryStore()
    const { clock, keys, keySet } = setUp({ store })
    keys.publish(first.jwk)

    await keySet.start()

    expect(store.kept).toEqual({ fetchedAtMs: clock.now(), jwks: { keys: [first.jwk] } })
  })

  test('what is no key set is not kept', async () => {
    const store = new MemoryStore()
    const { keys, keySet } = setUp({ store })
    keys.document({ keys: [] })

    await keySet.start()

    expect(store.kept).toBeUndefined()
  })

  test.each([
    ['that are an hour old serve while the issuer is down', hour, true],
    ['that are just younger than a day serve too', 24 * hour - 1, true],
    ['that are a day old do not', 24 * hour, false],
    ['from the future do not: they would never grow old', -1, false],
  ])('kept keys %s', async (_what, ageMs, serve) => {
    const store = new MemoryStore({
      fetchedAtMs: new FakeClock().now() - ageMs,
      jwks: { keys: [first.jwk] },
    })
    const { keys, keySet } = setUp({ store })
    keys.fail()

    await keySet.start()

    expect(keySet.state.keys).toBe(serve ? 1 : 0)
  })

  test('kept keys are usable while the first fetch is under way', async () => {
    const { now } = new FakeClock()
    const store = new MemoryStore({ fetchedAtMs: now() - hour, jwks: { keys: [first.jwk] } })
    const { keys, keySet, idsFor } = setUp({ store })
    const answer = keys.hang()
    const started = keySet.start()
    await until(() => keySet.state.keys === 1)

    expect(await idsFor('first')).toEqual(['first'])
    expect(keySet.state).toEqual({ keys: 1, ageMs: hour })
    answer(first.jwk)
    await started
  })

  test('kept keys count from when they were fetched, not from the restart', async () => {
    const { now } = new FakeClock()
    const store = new MemoryStore({ fetchedAtMs: now() - 23 * hour, jwks: { keys: [first.jwk] } })
    const { clock, keys, keySet } = setUp({ store })
    keys.fail()
    await keySet.start()

    await clock.advance(hour)

    await expect(keySet.find('first', 'ES256')).rejects.toThrow(Fault)
  })

  test('kept keys that will not do are passed over', async () => {
    const store = new MemoryStore({ fetchedAtMs: new FakeClock().now(), jwks: { keys: [{ kty: 'oct' }] } })
    const { keys, keySet, idsFor } = setUp({ store })
    keys.publish(first.jwk)

    await keySet.start()

    expect(await idsFor('first')).toEqual(['first'])
  })
})

test('once its trust is taken away, not even a fetch that has just brought the same keys gives it back', async () => {
  const { keys, keySet, clock, ended } = setUp()
  keys.publish(first.jwk)
  await keySet.start()
  const [key] = await keySet.find('first', 'ES256')
  const answer = keys.hang()
  await clock.advance(5 * minute)

  answer(first.jwk)
  // The answer has been taken, and its keys are being read.
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve()
  keySet.retire()
  await until(() => ended.length === 2)

  expect(key?.active).toBe(false)
})
