import { describe, expect, test } from '@jest/globals'
import { type PolicyIssuer, problemsOfIssuer, readPolicy } from '../../src/config/policy.ts'
import { readSettings } from '../../src/config/settings.ts'

const partner = {
  name: 'partner',
  issuer: 'https://login.example.com/',
  audience: 'https://api.example.com',
} satisfies PolicyIssuer

function problemsOf(issuer: object): readonly string[] {
  const result = readPolicy('policy.yaml', `issuers:\n  - ${JSON.stringify({ ...partner, ...issuer })}\n`)
  return result.kind === 'problems' ? result.problems : []
}

describe('an issuer of the policy', () => {
  test('needs a name, an issuer and an audience; all else has a default', () => {
    expect(readPolicy('policy.yaml', JSON.stringify({ issuers: [partner] }))).toMatchObject({
      kind: 'document',
      value: { issuers: [partner] },
    })
  })

  test.each(['name', 'issuer', 'audience'])('is refused without %s', (member) => {
    expect(problemsOf({ [member]: undefined })).toEqual([
      `policy.yaml:2:5: issuers.0: must have required property '${member}'`,
    ])
  })

  test.each([
    ['a name that is no label', { name: 'The Partner' }, /issuers\.0\.name: must be of another form/],
    [
      'an issuer that is no URL',
      { issuer: 'login.example.com' },
      /issuers\.0\.issuer: must be of another form/,
    ],
    ['an audience of nothing', { audience: [] }, /issuers\.0\.audience: must NOT have fewer than 1 items/],
    ['an audience that is a number', { audience: 7 }, /audience: must be string, or must be array/],
    ['HMAC', { algorithms: ['HS256'] }, /issuers\.0\.algorithms\.0: must be one of RS256, /],
    ['no signature', { algorithms: ['none'] }, /issuers\.0\.algorithms\.0: must be one of RS256, /],
    ['an unknown validation', { validation: 'trust' }, /validation: must be one of jwt, introspection$/],
    [
      'a setting that nothing knows',
      { audiences: ['x'] },
      /^policy\.yaml:2:\d+: issuers\.0: there is no setting "audiences", did you mean "audience"\?$/,
    ],
  ])('is refused with line and column: %s', (_what, more, problem) => {
    expect(problemsOf(more)).toEqual([expect.stringMatching(problem)])
  })
})

describe('what the schema cannot say of an issuer', () => {
  const onlyHttps = (url: string) => url.startsWith('https:')
  const find = (more: Partial<PolicyIssuer>) => problemsOfIssuer({ ...partner, ...more }, onlyHttps)

  test('is nothing where all is well', () => {
    expect(find({})).toEqual([])
    expect(find({ validation: 'introspection', client_id: 'a', client_secret: 'b' })).toEqual([])
    expect(find({ validation: 'introspection', client_id: 'a', client_secret_file: '/b' })).toEqual([])
  })

  test.each(['issuer', 'jwks_uri', 'introspection_endpoint', 'userinfo_endpoint'] as const)(
    'is that %s is plain http',
    (member) => {
      expect(find({ [member]: 'http://login.example.com/' })).toEqual([
        `issuer "partner": ${member} is plain http, which only loopback may use; use https, or set GATEPOST_ALLOW_PLAINTEXT=true`,
      ])
    },
  )

  test.each(['https://a@b.example/', 'https://b.example/?x=1', 'https://b.example/#x'])(
    'is that %s is no issuer’s name',
    (issuer) => {
      expect(find({ issuer })).toEqual([`issuer "partner": "${issuer}" is no issuer's URL`])
    },
  )

  test.each([
    ['no client', {}],
    ['no secret', { client_id: 'a' }],
    ['no id', { client_secret: 'b' }],
    ['two secrets', { client_id: 'a', client_secret: 'b', client_secret_file: '/c' }],
  ])('is that introspection has %s', (_what, more) => {
    expect(find({ validation: 'introspection', ...more })).toEqual([
      'issuer "partner": introspection needs client_id, and client_secret or client_secret_file',
    ])
  })
})

describe('in the environment', () => {
  const open = { GATEPOST_AUTH: 'none' }

  function read(issuers: readonly object[], env: Record<string, string> = {}) {
    return readSettings({ ...open, GATEPOST_POLICY: JSON.stringify({ issuers }), ...env })
  }

  function found(issuers: readonly object[], env: Record<string, string> = {}): readonly string[] {
    const result = read(issuers, env)
    return result.kind === 'problems' ? result.problems : []
  }

  test('its problems name the variable and the place', () => {
    expect(found([{ ...partner, name: 7 }])).toEqual([
      expect.stringMatching(/^GATEPOST_POLICY:1:\d+: issuers\.0\.name: must be string$/),
    ])
  })

  test('a secret may come from a variable', () => {
    const issuer = {
      ...partner,
      validation: 'introspection',
      client_id: 'gatepost',
      client_secret: '${' + 'PARTNER_SECRET}',
    }

    const result = read([issuer], { PARTNER_SECRET: 's3cret' })
    const missing = found([issuer])

    const [first] = result.kind === 'settings' ? result.settings.policy.first.issuers : []
    expect(first?.kind === 'policy' && first.introspection?.secret()).toBe('s3cret')
    expect(missing).toEqual([
      expect.stringMatching(
        /^GATEPOST_POLICY:1:\d+: issuer "partner": client_secret is empty, or its variable is not set$/,
      ),
    ])
  })

  test.each([
    ['the same name twice', [partner, { ...partner, issuer: 'https://other.example/' }]],
    ['the same issuer twice', [partner, { ...partner, name: 'other' }]],
  ])('%s is refused: tokens could not be told apart', (_what, issuers) => {
    expect(found(issuers)).toHaveLength(1)
  })
})
