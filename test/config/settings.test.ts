import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import type { Environment } from '../../src/config/environment.ts'
import { mayFetch } from '../../src/config/issuer-settings.ts'
import { readSettings, type Settings } from '../../src/config/settings.ts'
import { describeVariables, variables } from '../../src/config/variables.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

const auth0 = { AUTH0_DOMAIN: 'tenant.eu.auth0.com', AUTH0_AUDIENCE: 'https://api.example.com' }
const open = { GATEPOST_AUTH: 'none' }

let folder: TempFolder
beforeAll(async () => {
  folder = await tempFolder('settings')
})
afterAll(() => folder.remove())

/** Writes a file of the tests' own and returns its path. */
async function file(name: string, content: string): Promise<string> {
  const path = join(folder.path, name)
  await writeFile(path, content)
  return path
}

function settings(env: Environment): Settings {
  const read = readSettings(env)
  if (read.kind === 'problems') throw new Error(read.problems.join('\n'))
  return read.settings
}

function problems(env: Environment): readonly string[] {
  const read = readSettings(env)
  return read.kind === 'problems' ? read.problems : []
}

describe('with nothing but an issuer', () => {
  test('the documented defaults stand', () => {
    expect(settings(auth0)).toMatchObject({
      grpc: { address: { kind: 'tcp', host: '127.0.0.1', port: 9001 }, socketMode: 0o660 },
      admin: { address: { kind: 'tcp', host: '127.0.0.1', port: 9002 } },
      dataDir: './.gatepost',
      drain: { delayMs: 0, timeoutMs: 10_000 },
      policy: {
        first: {
          routes: { defaults: { auth: 'required', scopes: [] }, routes: [] },
          issuers: [
            { kind: 'auth0', origin: 'https://tenant.eu.auth0.com', audiences: ['https://api.example.com'] },
          ],
        },
      },
      allowPlaintext: false,
      spool: { maxBytes: 256 * 1_024 ** 2, sync: 'normal' },
      tokens: { cacheTtlMs: 300_000, clockSkewSeconds: 30 },
      log: { level: 'info', format: 'json' },
    })
  })

  test('an empty variable counts as unset', () => {
    const empty = Object.fromEntries(Object.keys(variables).map((name) => [name, '']))

    const read = settings({ ...empty, GATEPOST_ADMIN_TOKEN_FILE: '', ...auth0 })

    expect(JSON.stringify(read)).toBe(JSON.stringify(settings(auth0)))
  })
})

test('every variable finds its place', () => {
  const read = settings({
    GATEPOST_GRPC_ADDRESS: 'unix:/run/gatepost.sock',
    GATEPOST_GRPC_SOCKET_MODE: '0600',
    GATEPOST_ADMIN_ADDRESS: '[::1]:8002',
    GATEPOST_ADMIN_TOKEN: '0123456789abcdef',
    GATEPOST_STATUS_ADDRESS: '0.0.0.0:8003',
    GATEPOST_DATA_DIR: '/var/lib/gatepost',
    GATEPOST_DRAIN_DELAY: '5s',
    GATEPOST_SPOOL_MAX_BYTES: '64MiB',
    GATEPOST_SPOOL_SYNC: 'full',
    GATEPOST_DRAIN_TIMEOUT: '1m',
    GATEPOST_AUTH: 'optional',
    GATEPOST_REQUIRED_SCOPES: 'read:users, write:users',
    GATEPOST_ALLOW_PLAINTEXT: 'true',
    AUTH0_DOMAIN: 'tenant.eu.auth0.com',
    AUTH0_AUDIENCE: 'one, two',
    OKTA_DOMAIN: 'dev-1234.okta.com',
    OKTA_AUTHORIZATION_SERVER: 'aus1',
    OKTA_AUDIENCE: '*',
    OIDC_ISSUER: 'http://login.example.com/realms/a',
    OIDC_AUDIENCE: 'three',
    GATEPOST_TOKEN_CACHE_TTL: '0s',
    GATEPOST_CLOCK_SKEW: '1500ms',
    LOG_LEVEL: 'debug',
    LOG_FORMAT: 'ecs',
  })

  expect(read.admin.token?.()).toBe('0123456789abcdef')
  expect({ ...read, admin: read.admin.address }).toMatchObject({
    grpc: { address: { kind: 'unix', path: '/run/gatepost.sock' }, socketMode: 0o600 },
    admin: { kind: 'tcp', host: '::1', port: 8002 },
    statusAddress: { kind: 'tcp', host: '0.0.0.0', port: 8003 },
    dataDir: '/var/lib/gatepost',
    drain: { delayMs: 5_000, timeoutMs: 60_000 },
    spool: { maxBytes: 64 * 1_024 ** 2, sync: 'full' },
    policy: {
      first: {
        routes: { defaults: { auth: 'optional', scopes: ['read:users', 'write:users'] } },
        issuers: [
          { kind: 'auth0', origin: 'https://tenant.eu.auth0.com', audiences: ['one', 'two'] },
          {
            kind: 'okta',
            origin: 'https://dev-1234.okta.com',
            authorizationServer: 'aus1',
            audiences: 'any',
          },
          { kind: 'oidc', issuer: 'http://login.example.com/realms/a', audiences: ['three'] },
        ],
      },
    },
    allowPlaintext: true,
    tokens: { cacheTtlMs: 0, clockSkewSeconds: 2 },
    log: { level: 'debug', format: 'ecs' },
  })
})

test('settings cannot be changed, down to the last list', () => {
  const { policy, grpc } = settings(auth0)
  const { issuers, routes } = policy.first

  for (const part of [issuers, issuers[0], issuers[0]?.audiences, routes.defaults.scopes, grpc.address]) {
    expect(Object.isFrozen(part)).toBe(true)
  }
})

test('all problems are found at once, each by the name of its variable and with the bad value', () => {
  const found = problems({
    GATEPOST_GRPC_ADDRESS: '9001',
    GATEPOST_ADMIN_ADDRESS: 'nowhere',
    GATEPOST_AUTH: 'sometimes',
    GATEPOST_REQUIRED_SCOPES: 'read users',
    GATEPOST_DRAIN_DELAY: '1d',
    GATEPOST_RATELIMIT: '100/1m',
    AUTH0_DOMAIN: 'tenant.auth0.com/path',
    OKTA_DOMAIN: 'http://okta.example.com',
    OIDC_AUDIENCE: 'api',
    LOG_LEVEL: 'loud',
  })

  expect(found).toEqual([
    expect.stringMatching(/^GATEPOST_RATELIMIT: no such variable, did you mean GATEPOST_\w+\?$/),
    'GATEPOST_GRPC_ADDRESS: "9001" does not do, it must be host:port, such as 127.0.0.1:9001 or [::1]:9001',
    'GATEPOST_ADMIN_ADDRESS: "nowhere" does not do, it must be host:port, such as 127.0.0.1:9001 or [::1]:9001',
    'GATEPOST_DRAIN_DELAY: "1d" does not do, it must be a duration from 0s to 1h, such as 250ms, 10s or 1m',
    'GATEPOST_AUTH: "sometimes" does not do, it must be one of required, optional, none',
    'GATEPOST_REQUIRED_SCOPES: "read users" does not do, it must be a list of scopes by commas, and "read users" is none',
    'AUTH0_DOMAIN: "tenant.auth0.com/path" does not do, it must be a domain such as tenant.eu.auth0.com, without a path',
    'LOG_LEVEL: "loud" does not do, it must be one of debug, info, warn, error, silent',
    expect.stringMatching(/^OKTA_AUDIENCE: OKTA_DOMAIN needs it/),
    expect.stringMatching(/^OKTA_DOMAIN: "http:\/\/okta\.example\.com" is plain http/),
    'OIDC_AUDIENCE: it means nothing without OIDC_ISSUER',
  ])
})

describe('the ways in', () => {
  test('an empty environment is one problem that names the three ways out', () => {
    const [problem, ...others] = problems({})

    expect(others).toEqual([])
    expect(problem).toMatch(/^GATEPOST_AUTH: it is "required", and nothing says whom to trust/)
    expect(problem).toMatch(/1\. .*AUTH0_DOMAIN.*OKTA_DOMAIN.*OIDC_ISSUER/)
    expect(problem).toMatch(/2\. .*GATEPOST_API_KEYS_FILE.*GATEPOST_CLIENT_CERT/)
    expect(problem).toMatch(/3\. .*GATEPOST_AUTH=optional.*GATEPOST_AUTH=none/)
  })

  test('each way out that is named leads out', async () => {
    const keys = await file('keys.yaml', 'keys: []\n')
    const ways: Environment[] = [
      auth0,
      { GATEPOST_API_KEYS_FILE: keys },
      { GATEPOST_CLIENT_CERT: 'principal' },
      { GATEPOST_AUTH: 'optional' },
      { GATEPOST_AUTH: 'none' },
    ]

    expect(ways.map(problems)).toEqual(ways.map(() => []))
  })

  test('an issuer that does not read is a problem of its own, and not also none', () => {
    const found = problems({ AUTH0_DOMAIN: 'a b', AUTH0_AUDIENCE: 'api' })

    expect(found.filter((problem) => problem.startsWith('GATEPOST_AUTH:'))).toEqual([])
    expect(found).toContainEqual(expect.stringMatching(/^AUTH0_DOMAIN: "a b" does not do/))
  })
})

describe('a name that nothing knows', () => {
  test.each([
    ['GATEPOST_GRPC_ADRESS', 'GATEPOST_GRPC_ADDRESS'],
    ['GATEPOST_ADMIN_TOKN', 'GATEPOST_ADMIN_TOKEN'],
    ['GATEPOST_ADMIN_TOKENFILE', 'GATEPOST_ADMIN_TOKEN_FILE'],
    ['GATEPOST_REQUIRED_SCOPE', 'GATEPOST_REQUIRED_SCOPES'],
    ['GATEPOST_', 'GATEPOST_AUTH'],
  ])('%s is refused, and %s is proposed', (name, nearest) => {
    expect(problems({ ...open, [name]: 'x' })).toEqual([
      `${name}: no such variable, did you mean ${nearest}?`,
    ])
  })

  test('is refused even when it is empty, for somebody meant something by it', () => {
    expect(problems({ ...open, GATEPOST_TYPO: '' })).toHaveLength(1)
  })

  test.each([
    'GATEPOST_SERVICE_HOST',
    'GATEPOST_SERVICE_PORT',
    'GATEPOST_SERVICE_PORT_GRPC',
    'GATEPOST_PORT',
    'GATEPOST_PORT_9001_TCP',
    'GATEPOST_PORT_9001_TCP_ADDR',
    'GATEPOST_PORT_9001_TCP_PORT',
    'GATEPOST_PORT_9001_TCP_PROTO',
    'GATEPOST_FOO_SERVICE_HOST',
    'GATEPOST_FOO_SERVICE_PORT_GRPC',
    'GATEPOST_FOO_PORT_9001_TCP_ADDR',
  ])('is ignored where Kubernetes may have put it: %s', (name) => {
    expect(problems({ ...open, [name]: 'tcp://10.0.0.1:9001' })).toEqual([])
  })

  test('is none of ours without our prefix', () => {
    expect(problems({ ...open, PATH: '/bin', GATEPOSTER: 'x', OIDC_CLIENT: 'x' })).toEqual([])
  })

  test('never looks like one that Kubernetes may write', () => {
    const links = Object.keys(variables).filter((name) =>
      /_SERVICE_HOST|_SERVICE_PORT|_PORT$|_PORT_/.test(name),
    )

    expect(links).toEqual([])
  })
})

describe('a secret', () => {
  test('is not shown when it does not do', () => {
    expect(problems({ ...open, GATEPOST_ADMIN_TOKEN: 'hunter2' })).toEqual([
      'GATEPOST_ADMIN_TOKEN: the value does not do, it must be at least 16 characters without blanks',
    ])
  })

  test('is not shown when the file it comes from does not do', async () => {
    const path = await file('short', 'hunter2\n')

    expect(problems({ ...open, GATEPOST_ADMIN_TOKEN_FILE: path })).toEqual([
      'GATEPOST_ADMIN_TOKEN: the value does not do, it must be at least 16 characters without blanks',
    ])
  })

  test('may come from a file, whose last line break does not count', async () => {
    const path = await file('token', 'first-admin-token-1\n')

    expect(settings({ ...open, GATEPOST_ADMIN_TOKEN_FILE: path }).admin.token?.()).toBe('first-admin-token-1')
  })

  test('is read again when its file changes', async () => {
    const path = await file('changing', 'first-admin-token-1')
    const { admin } = settings({ ...open, GATEPOST_ADMIN_TOKEN_FILE: path })

    await file('changing', 'second-admin-token-22')

    expect(admin.token?.()).toBe('second-admin-token-22')
  })

  test('keeps its last good value when its file no longer does', async () => {
    const path = await file('failing', 'first-admin-token-1')
    const { admin } = settings({ ...open, GATEPOST_ADMIN_TOKEN_FILE: path })

    await file('failing', 'short')

    expect(admin.token?.()).toBe('first-admin-token-1')
  })

  test('cannot come from both places', async () => {
    const path = await file('both', 'first-admin-token-1')

    expect(
      problems({ ...open, GATEPOST_ADMIN_TOKEN: '0123456789abcdef', GATEPOST_ADMIN_TOKEN_FILE: path }),
    ).toEqual(['GATEPOST_ADMIN_TOKEN: set either it or GATEPOST_ADMIN_TOKEN_FILE, not both'])
  })

  test('whose file cannot be read is a problem that names the file', () => {
    const path = join(folder.path, 'missing')

    expect(problems({ ...open, GATEPOST_ADMIN_TOKEN_FILE: path })).toEqual([
      `GATEPOST_ADMIN_TOKEN_FILE: cannot read ${JSON.stringify(path)}: ENOENT`,
    ])
  })

  test('alone may come from a file', () => {
    expect(problems({ ...open, GATEPOST_DATA_DIR_FILE: '/x' })).toHaveLength(1)
  })
})

const issuerPairs = [
  ['AUTH0_DOMAIN', 'AUTH0_AUDIENCE'],
  ['OKTA_DOMAIN', 'OKTA_AUDIENCE'],
  ['OIDC_ISSUER', 'OIDC_AUDIENCE'],
] as const

describe.each(issuerPairs)('%s', (name, audience) => {
  test('needs an audience', () => {
    expect(problems({ [name]: 'https://login.example.com/' })).toEqual([
      expect.stringMatching(new RegExp(`^${audience}: ${name} needs it`)),
    ])
  })

  test('is what its audience needs', () => {
    expect(problems({ ...open, [audience]: 'api' })).toEqual([
      `${audience}: it means nothing without ${name}`,
    ])
  })

  test('may not be plain http beyond loopback', () => {
    expect(problems({ [name]: 'http://login.example.com', [audience]: 'api' })).toEqual([
      expect.stringMatching(new RegExp(`^${name}: .* is plain http, which only loopback may use`)),
    ])
  })

  test.each([
    ['on loopback', { [name]: 'http://127.0.0.1:4010' }],
    ['where plain text is allowed', { [name]: 'http://login.test', GATEPOST_ALLOW_PLAINTEXT: 'true' }],
  ])('may be plain http %s', (_where, env) => {
    expect(problems({ ...env, [audience]: 'api' })).toEqual([])
  })
})

test.each([
  ['https://login.example.com/keys', false, true],
  ['http://localhost:4010/keys', false, true],
  ['http://[::1]:4010/keys', false, true],
  ['http://login.example.com/keys', false, false],
  ['http://login.example.com/keys', true, true],
  ['http://127.0.0.1.example.com/keys', false, false],
  ['ftp://localhost/keys', true, false],
  ['file:///etc/passwd', true, false],
  ['no url', true, false],
])('keys at %s with plain text allowed %s: may be fetched %s', (url, allowPlaintext, may) => {
  expect(mayFetch(url, allowPlaintext)).toBe(may)
})

describe('plain-text gRPC', () => {
  test.each(['0.0.0.0:9001', '[::]:9001', '10.0.0.1:9001', 'gatepost.example.com:9001'])(
    'on %s is a problem, for other machines could ask',
    (address) => {
      expect(problems({ ...open, GATEPOST_GRPC_ADDRESS: address })).toEqual([
        expect.stringMatching(/^GATEPOST_GRPC_ADDRESS: .*set GATEPOST_GRPC_INSECURE=true$/),
      ])
    },
  )

  test.each([
    ['on loopback', { GATEPOST_GRPC_ADDRESS: '[::1]:9001' }],
    ['on a Unix socket', { GATEPOST_GRPC_ADDRESS: 'unix:/run/gatepost.sock' }],
    ['where it is allowed', { GATEPOST_GRPC_ADDRESS: '0.0.0.0:9001', GATEPOST_GRPC_INSECURE: 'true' }],
  ])('is fine %s', (_where, env) => {
    expect(problems({ ...open, ...env })).toEqual([])
  })
})

test('a problem with the environment itself is thrown on, and not mistaken for a bad value', () => {
  const env = new Proxy<Record<string, string>>({}, { get: () => Symbol('no text') })

  expect(() => readSettings(env)).toThrow(TypeError)
})

test('every variable is described, and a secret by the file form too', () => {
  const described = describeVariables()

  expect(described.map(({ name }) => name.split(',')[0])).toEqual(Object.keys(variables))
  expect(described).toContainEqual({
    name: 'GATEPOST_ADMIN_TOKEN, GATEPOST_ADMIN_TOKEN_FILE',
    meaning: expect.stringContaining('admin API'),
  })
  for (const { meaning } of described) expect(meaning).toMatch(/\.$/)
})
