import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { Environment } from '../../src/config/environment.ts'
import { issuerName } from '../../src/config/issuer-settings.ts'
import { readSettings } from '../../src/config/settings.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

const partner = 'issuers: [{name: partner, issuer: "https://login.example.com/", audience: api}]\n'
const oidc = { OIDC_ISSUER: 'https://oidc.example.com/', OIDC_AUDIENCE: 'api' }

let folder: TempFolder
let path: string
beforeEach(async () => {
  folder = await tempFolder('policy')
  path = join(folder.path, 'policy.yaml')
})
afterEach(() => folder.remove())

function policyOf(env: Environment) {
  const read = readSettings(env)
  if (read.kind === 'problems') throw new Error(read.problems.join('\n'))
  return read.settings.policy
}

function problemsOf(env: Environment): readonly string[] {
  const read = readSettings(env)
  return read.kind === 'problems' ? read.problems : []
}

describe('the policy', () => {
  test('is the environment alone where there is no file', () => {
    const { first, path: file } = policyOf(oidc)

    expect(file).toBeUndefined()
    expect(first.routes.routes).toEqual([])
    expect(first.issuers.map(issuerName)).toEqual(['oidc'])
  })

  test('has the issuers of both, those of the environment first', () => {
    expect(policyOf({ ...oidc, GATEPOST_POLICY: partner }).first.issuers.map(issuerName)).toEqual([
      'oidc',
      'partner',
    ])
  })

  test('may be a file, whose problems name the variable, the file and the place', async () => {
    await writeFile(path, `${partner}routes:\n  - {name: a, match: {path: /b//c}, auth: {issuers: [x]}}\n`)

    expect(problemsOf({ GATEPOST_POLICY_FILE: path })).toEqual([
      `GATEPOST_POLICY_FILE: ${path}:3:29: "/b//c" is not normalised: no request will ever have it`,
      `GATEPOST_POLICY_FILE: ${path}:3:54: there is no issuer "x", known are partner`,
    ])
  })

  test('that cannot be read is a problem', () => {
    expect(problemsOf({ GATEPOST_POLICY_FILE: path })).toEqual([
      `GATEPOST_POLICY_FILE: ${path}: cannot read it: ENOENT`,
    ])
  })

  test('cannot be in both places', () => {
    expect(problemsOf({ GATEPOST_POLICY_FILE: path, GATEPOST_POLICY: partner })).toEqual([
      'GATEPOST_POLICY: set either it or GATEPOST_POLICY_FILE, not both',
    ])
  })

  test('of nothing, and of nothing but a comment, is none', () => {
    for (const text of ['{}', '# later\n', 'routes: []\n'])
      expect(policyOf({ ...oidc, GATEPOST_POLICY: text }).first.routes.routes).toEqual([])
  })
})

describe('where nobody is trusted', () => {
  test.each([
    ['a policy without issuers', 'routes: [{name: a}]'],
    ['an empty policy', '{}'],
    ['a policy that repeats that a credential is needed', 'defaults: {auth: required}'],
  ])('%s is no way in', (_what, text) => {
    expect(problemsOf({ GATEPOST_POLICY: text })).toEqual([
      expect.stringMatching(/^GATEPOST_AUTH: it is "required", and nothing says whom to trust/),
    ])
  })

  test.each([
    ['an issuer in it', partner],
    ['defaults that ask nobody', 'defaults: {auth: none}'],
    ['defaults that let callers come without a credential', 'defaults: {auth: {mode: optional}}'],
  ])('%s is one', (_what, text) => {
    expect(problemsOf({ GATEPOST_POLICY: text })).toEqual([])
  })

  test('a policy that does not read is a problem of its own, and not also none', () => {
    expect(problemsOf({ GATEPOST_POLICY: 'rutes: []' })).toEqual([
      'GATEPOST_POLICY:1:1: the file: there is no setting "rutes", did you mean "routes"?',
    ])
  })
})

describe('read again', () => {
  test('it is held against the same environment', async () => {
    const { read } = policyOf({ ...oidc, GATEPOST_REQUIRED_SCOPES: 'read:env' })

    expect(await read('new.yaml', partner)).toMatchObject({
      kind: 'document',
      value: {
        issuers: [{ kind: 'oidc' }, { kind: 'policy' }],
        routes: { defaults: { auth: 'required', scopes: ['read:env'] } },
      },
    })
    expect(
      await read('new.yaml', 'issuers: [{name: oidc, issuer: "https://x.example.com/", audience: api}]'),
    ).toEqual({
      kind: 'problems',
      problems: ['new.yaml:1:11: there are two issuers called "oidc"'],
    })
  })
})
