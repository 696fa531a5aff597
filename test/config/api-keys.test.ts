import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { createApiKeys, newApiKey } from '../../src/auth/api-keys.ts'
import { type ApiKeySettings, readApiKeys } from '../../src/config/api-keys.ts'
import { followFile } from '../../src/config/followed-file.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createLogLines } from '../support/log-lines.ts'
import { tempFolder } from '../support/temp.ts'

const hash = `sha256:${'ab'.repeat(32)}`

function keys(text: string): ReadonlyMap<string, ApiKeySettings> {
  const result = readApiKeys('keys.yaml', text)
  if (result.kind === 'problems') throw new Error(result.problems.join('\n'))
  return result.value
}

function problems(...lines: readonly string[]): readonly string[] {
  const result = readApiKeys('keys.yaml', lines.join('\n'))
  return result.kind === 'problems' ? result.problems : []
}

describe('a file of keys', () => {
  test('gives each key by its id', () => {
    const text = `keys:
  - {id: abc1, client_id: ci, hash: "${hash}", scopes: [deploy, "read:users"], expires_at: "2031-01-31T00:00:00Z"}
  - {id: abc2, client_id: batch, hash: "${hash.toUpperCase().replace('SHA256', 'sha256')}"}
`

    expect([...keys(text).values()]).toEqual([
      {
        id: 'abc1',
        clientId: 'ci',
        hash: Buffer.alloc(32, 0xab),
        scopes: ['deploy', 'read:users'],
        expiresAtMs: Date.UTC(2031, 0, 31),
      },
      { id: 'abc2', clientId: 'batch', hash: Buffer.alloc(32, 0xab), scopes: [] },
    ])
  })

  test('may say that there are none', () => {
    expect(keys('keys: []').size).toBe(0)
  })

  test('understands a date that YAML would take for one', () => {
    const text = `keys: [{id: a, client_id: ci, hash: "${hash}", expires_at: 2031-01-31T02:00:00+02:00}]`

    expect(keys(text).get('a')?.expiresAtMs).toBe(Date.UTC(2031, 0, 31))
  })
})

describe('is refused with line and column', () => {
  const good = { id: 'abc1', client_id: 'ci', hash }

  test.each([
    ['an id of other characters', { id: 'a_b' }, /^keys\.yaml:2:\d+: keys\.0\.id: must be of another form/],
    ['a client of blanks', { client_id: 'a b' }, /keys\.0\.client_id: must be of another form/],
    ['a client with a line break', { client_id: 'ci\r\nx-user-id: admin' }, /keys\.0\.client_id/],
    ['a hash of another kind', { hash: `md5:${'ab'.repeat(16)}` }, /keys\.0\.hash: must be of another form/],
    ['a hash cut short', { hash: hash.slice(0, -1) }, /keys\.0\.hash: must be of another form/],
    [
      'the key itself in place of its hash',
      { hash: newApiKey().key },
      /keys\.0\.hash: must be of another form/,
    ],
    ['scopes as one text', { scopes: 'a b' }, /keys\.0\.scopes: must be array/],
    ['a scope with a blank', { scopes: ['a b'] }, /keys\.0\.scopes\.0: must be of another form/],
    ['a date without a time', { expires_at: '2031-01-31' }, /keys\.0\.expires_at: must match format/],
    ['a date that there is none', { expires_at: '2031-02-31T00:00:00Z' }, /keys\.0\.expires_at/],
    ['a setting that nothing knows', { expires: 'never' }, /keys\.0: there is no setting "expires"/],
  ])('%s', (_what, more, problem) => {
    expect(problems('keys:', `  - ${JSON.stringify({ ...good, ...more })}`)).toEqual([
      expect.stringMatching(problem),
    ])
  })

  test.each(['id', 'client_id', 'hash'])('an entry without %s', (name) => {
    expect(problems('keys:', `  - ${JSON.stringify({ ...good, [name]: undefined })}`)).toEqual([
      `keys.yaml:2:5: keys.0: must have required property '${name}'`,
    ])
  })

  test('an empty file, for one with no keys says so', () => {
    expect(problems('')).toEqual([expect.stringContaining("must have required property 'keys'")])
  })

  test('an id that stands there twice', () => {
    const entry = `  - ${JSON.stringify(good)}`

    expect(problems('keys:', entry, entry)).toEqual(['keys.yaml: the id "abc1" stands there twice'])
  })

  test('and never repeats a hash or a key', () => {
    const { key } = newApiKey()
    const told = problems('keys:', `  - ${JSON.stringify({ ...good, hash: key, id: 'a b', x: key })}`)

    expect(told.length).toBeGreaterThan(1)
    expect(told.join('\n')).not.toContain(key)
  })
})

test('keys come and go while Gatepost runs, and a bad file takes none away', async () => {
  await using folder = await tempFolder('keys')
  const path = join(folder.path, 'keys.yaml')
  const [one, two] = [newApiKey(), newApiKey()]
  const entry = ({ id, hash }: typeof one) => `  - {id: ${id}, client_id: ci, hash: "${hash}"}\n`
  const write = async (text: string) => {
    await writeFile(`${path}.new`, text)
    await rename(`${path}.new`, path)
    await clock.advance(1_000)
  }
  const clock = new FakeClock()
  const { logger, lines } = createLogLines()
  const file = followFile(path, keys(`keys:\n${entry(one)}`), { read: readApiKeys, clock, logger })
  const verify = createApiKeys(() => file.current)
  const accepted = () => [one, two].map(({ key }) => verify(key, clock.now()).kind === 'key')

  const first = accepted()
  await write(`keys:\n${entry(one)}${entry(two)}`)
  const both = accepted()
  await write(`keys:\n${entry(one)}${entry(one)}`)
  const bad = accepted()
  await write(`keys:\n${entry(two)}`)
  const second = accepted()
  file.close()

  expect({ first, both, bad, second }).toEqual({
    first: [true, false],
    both: [true, true],
    bad: [true, true],
    second: [false, true],
  })
  expect(lines.map(({ level }) => level)).toEqual(['info', 'error', 'info'])
})
