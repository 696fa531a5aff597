import { describe, expect, test } from '@jest/globals'
import { createApiKeys, newApiKey } from '../../src/auth/api-keys.ts'
import type { Options } from '../../src/cli/arguments.ts'
import { newKey } from '../../src/cli/keys.ts'
import { readApiKeys } from '../../src/config/api-keys.ts'

const made = { key: 'gp_abc123_SECRET', id: 'abc123', hash: `sha256:${'0'.repeat(64)}` }

function run(options: Options, make = () => made) {
  const output = { answers: '', complaints: '' }
  const code = newKey(options, make, {
    answer: (text) => {
      output.answers += text
    },
    complain: (text) => {
      output.complaints += text
    },
  })
  return { code, ...output }
}

describe('gatepost keys new', () => {
  test('shows the key once, and an entry that holds only its hash', () => {
    const { code, answers, complaints } = run({ 'client-id': 'ci' })

    expect([code, complaints]).toEqual([0, ''])
    expect(answers.split(made.key)).toHaveLength(2)
    expect(answers).toContain(`  - {"id":"abc123","client_id":"ci","hash":"${made.hash}"}\n`)
  })

  test('writes scopes and expiry into the entry, the time as UTC', () => {
    const { answers } = run({
      'client-id': 'ci',
      scopes: 'deploy, read:users,',
      'expires-at': '2031-01-31T01:00:00+01:00',
      json: true,
    })

    expect(JSON.parse(answers)).toEqual({
      key: made.key,
      entry: {
        id: 'abc123',
        client_id: 'ci',
        hash: made.hash,
        scopes: ['deploy', 'read:users'],
        expires_at: '2031-01-31T00:00:00.000Z',
      },
    })
  })

  test.each([
    ['for people', {}],
    ['as JSON', { json: true }],
  ])('makes an entry that the keys file takes as it stands, for a key that then passes: %s', (_how, more) => {
    let key = ''
    const make = () => {
      const fresh = newApiKey()
      key = fresh.key
      return fresh
    }
    const options = { 'client-id': 'ci', scopes: 'deploy', 'expires-at': '2031-01-31', ...more }
    const { answers } = run(options, make)

    const json = options.json === true
    const entry = json ? `  - ${JSON.stringify(JSON.parse(answers).entry)}` : answers.split('\n').at(-2)
    const file = readApiKeys('keys.yaml', `keys:\n${entry}\n`)

    const entries = file.kind === 'document' ? file.value : new Map()
    const caller = createApiKeys(() => entries)(key, Date.UTC(2030, 0, 1))
    expect(caller).toMatchObject({ kind: 'key', clientId: 'ci', scopes: ['deploy'] })
  })

  test.each([
    ['nobody', {}, 'Say whose key it is: --client-id NAME'],
    ['a client with a blank', { 'client-id': 'a b' }, 'Say whose key it is'],
    ['a client that is too long', { 'client-id': 'x'.repeat(257) }, 'Say whose key it is'],
    ['a client that is a mere flag', { 'client-id': true }, 'Say whose key it is'],
    ['what is no scope', { 'client-id': 'ci', scopes: 'a b' }, '"a b" is no scope'],
    ['what is no date', { 'client-id': 'ci', 'expires-at': 'soon' }, '--expires-at wants a date such as'],
  ])('makes no key for %s, and says what would do', (_what, options, complaint) => {
    const { code, answers, complaints } = run(options as Options, () => {
      throw new Error('made a key')
    })

    expect([code, answers]).toEqual([64, ''])
    expect(complaints).toContain(complaint)
    expect(complaints).toMatch(/\. Try gatepost keys --help\n$/)
  })
})
