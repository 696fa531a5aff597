import { createServer } from 'node:http'
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import type { Explanation } from '../../src/core/explanation.ts'
import { type CommandResult, runGatepost } from '../support/command.ts'
import { type Gatepost, startGatepost } from '../support/gatepost.ts'
import { connectGrpc, type GrpcClient } from '../support/grpc-client.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../support/openid-provider.ts'
import { freePort, listen } from '../support/ports.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

// Each test starts processes, on machines that may be busy.
jest.setTimeout(60_000)

const adminToken = 'the-admin-token-of-this-test'

const opened = new AsyncDisposableStack()
let keys: OpenIdProvider
let answers: OpenIdProvider
let folder: TempFolder
let env: Record<string, string>
let running: Gatepost
let client: GrpcClient

beforeAll(async () => {
  ;[keys, answers] = await Promise.all([startOpenIdProvider('oidc'), startOpenIdProvider('oidc')])
  opened.use(keys)
  opened.use(answers)
  folder = opened.use(await tempFolder('explain'))
  env = {
    OIDC_ISSUER: keys.issuer,
    OIDC_AUDIENCE: keys.audience,
    GATEPOST_POLICY: JSON.stringify({
      issuers: [
        {
          name: 'answers',
          issuer: answers.issuer,
          audience: answers.audience,
          validation: 'introspection',
          client_id: answers.client.id,
          client_secret: answers.client.secret,
        },
      ],
      routes: [
        { name: 'limited', match: { path: '/limited' }, rate_limits: [{ name: 'few', limit: '2/1h' }] },
        { name: 'scoped', match: { path: '/scoped', methods: ['GET'] }, auth: { scopes: ['read:users'] } },
      ],
    }),
    GATEPOST_ADMIN_TOKEN: adminToken,
  }
  running = opened.use(await startGatepost(env))
  client = opened.use(connectGrpc(running.grpcAddress))
}, 60_000)
afterAll(() => opened.disposeAsync())

/** Runs `gatepost explain` beside the running one. */
function explain(args: readonly string[], more: Record<string, string> = {}): Promise<CommandResult> {
  return runGatepost(
    ['explain', ...args],
    { ...env, GATEPOST_ADMIN_ADDRESS: running.adminAddress, ...more },
    folder.path,
  )
}

async function explained(args: readonly string[]): Promise<Explanation & { by: string }> {
  const { code, stdout, stderr } = await explain([...args, '--json'])
  expect([code, stderr]).toEqual([0, ''])
  return JSON.parse(stdout) as Explanation & { by: string }
}

/** The same by the admin API: a process for each would take its time. */
async function explainedByApi(path: string, token: string, more: object = {}): Promise<Explanation> {
  const response = await fetch(`http://${running.adminAddress}/api/explain`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${adminToken}` },
    body: JSON.stringify({ method: 'GET', path, headers: { authorization: `Bearer ${token}` }, ...more }),
  })
  return (await response.json()) as Explanation
}

const bearer = (token: string) => ['-H', `authorization: Bearer ${token}`]

function check(path: string, token: string) {
  return client.check({
    attributes: { request: { http: { method: 'GET', path, headers: { authorization: `Bearer ${token}` } } } },
  })
}

/** The samples of Gatepost's own metrics, but for the one that changes with time alone. */
async function counters(): Promise<string[]> {
  const text = await (await fetch(`http://${running.adminAddress}/metrics`)).text()
  return text.split('\n').filter((line) => /^gateway_(?!issuer_key_age)/.test(line))
}

describe('asks the gatepost that runs', () => {
  test('and says so, step by step, with exit code 0', async () => {
    const { code, stdout, stderr } = await explain([
      'GET',
      '/scoped',
      ...bearer(keys.signToken({ scope: 'read:users' })),
    ])

    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain(`says the gatepost that runs on ${running.adminAddress}`)
    expect(stdout).toContain('allowed: the request goes on to the upstream')
    expect(stdout).toContain('✓ scopes    holds read:users')
  })

  test('and needs no more than its address and its token', async () => {
    const { code, stdout } = await runGatepost(
      ['explain', 'GET', '/scoped'],
      { GATEPOST_ADMIN_ADDRESS: running.adminAddress, GATEPOST_ADMIN_TOKEN: adminToken },
      folder.path,
    )

    expect(code).toBe(0)
    expect(stdout).toContain(`says the gatepost that runs on ${running.adminAddress}`)
  })

  test.each([
    ['a denial for want of a credential', ['GET', '/scoped'], 'missing_token'],
    ['a method that is not offered', ['PUT', '/scoped'], 'method_not_allowed'],
    ['an unclear path', ['GET', '/scoped%2f'], 'invalid_path'],
    [
      'a credential of another kind',
      ['GET', '/scoped', '-H', 'authorization: Basic YTpi'],
      'unsupported_scheme',
    ],
    ['a bad setting of Envoy’s route', ['GET', '/', '--setting', 'auth=maybe'], 'fault'],
  ])('and exits with 0 for %s too', async (_what, args, reason) => {
    expect((await explained(args)).verdict.reason).toBe(reason)
  })

  test('by the token that it has written, if it is told none', async () => {
    await using own = await startGatepost({ GATEPOST_AUTH: 'none' })
    const there = {
      GATEPOST_AUTH: 'none',
      GATEPOST_ADMIN_ADDRESS: own.adminAddress,
      GATEPOST_DATA_DIR: own.dataFolder,
    }

    const { code, stdout } = await runGatepost(['explain', 'GET', '/'], there, folder.path)

    expect(code).toBe(0)
    expect(stdout).toContain('says the gatepost that runs on')
  })

  test('of whose limits it takes nothing and shows what is left', async () => {
    const token = keys.signToken({ client_id: 'frugal' })
    await check('/limited', token)

    for (const _ of [1, 2, 3]) await explainedByApi('/limited', token)
    const before = await explained(['GET', '/limited', ...bearer(token)])
    const second = await check('/limited', token)
    const third = await check('/limited', token)
    const after = await explained(['GET', '/limited', ...bearer(token)])

    expect(before).toMatchObject({ verdict: { decision: 'allow' }, limits: [{ name: 'few', remaining: 1 }] })
    expect([second.http_response, third.http_response]).toEqual(['ok_response', 'denied_response'])
    expect(after).toMatchObject({ verdict: { status: 429, cause: 'few' }, limits: [{ remaining: 0 }] })
  })
})

describe('leaves no trace', () => {
  test('no fetch, no metric and no event, whatever the verdict', async () => {
    const tokens = [
      keys.signToken(),
      keys.signToken({ exp: 1 }),
      keys.signToken({}, { header: { kid: 'never-seen' } }),
      keys.signToken({ iss: 'https://elsewhere.example.com/' }),
      'opaque-token',
      answers.signToken(),
    ]
    const fetched = () => [{ ...keys.fetched }, { ...answers.fetched }]
    const [fetchedBefore, countersBefore] = [fetched(), await counters()]

    const reasons = new Set<string>()
    for (const token of tokens) reasons.add((await explainedByApi('/limited', token)).verdict.reason)
    reasons.add((await explainedByApi('/scoped', '', { method: 'PUT' })).verdict.reason)
    await explained(['GET', '/limited', ...bearer(keys.signToken())])

    expect([...reasons].sort()).toEqual(['fault', 'invalid_token', 'method_not_allowed', 'ok'])

    expect(fetched()).toEqual(fetchedBefore)
    expect(await counters()).toEqual(countersBefore)
  })

  test('what only an issuer could tell is no verdict; once it is known, or may be asked for, it is one', async () => {
    const token = await answers.issueToken({ format: 'opaque' })
    const args = ['GET', '/', ...bearer(token)]

    const unknown = await explained(args)
    const asked = await explained([...args, '--ask'])
    const known = await explained(args)

    expect(unknown.verdict).toMatchObject({
      decision: 'fault',
      cause: 'Cannot tell: issuer answers must be asked about this token, and was not',
    })
    expect([asked.verdict.decision, known.verdict.decision]).toEqual(['allow', 'allow'])
  })

  test('asked with leave, tokens are neither counted nor remembered', async () => {
    const tokens = [keys.signToken(), keys.signToken({ exp: 1 })]
    const before = await counters()

    for (const token of tokens) await explainedByApi('/', token, { ask_issuers: true })

    expect(await counters()).toEqual(before)
  })

  test('claims are shown by name, and by value where that is asked for', async () => {
    const args = ['GET', '/', ...bearer(keys.signToken({ email: 'alice@example.com' }))]

    const names = await explained(args)
    const values = await explained([...args, '--values'])

    expect(names.caller.claims).toContain('email')
    expect(JSON.stringify(names)).not.toContain('alice@example.com')
    expect(values.caller.claims).toMatchObject({ email: 'alice@example.com' })
  })
})

describe('works from the configuration alone where none runs', () => {
  let nowhere: Record<string, string>
  beforeEach(async () => {
    nowhere = { GATEPOST_ADMIN_ADDRESS: `127.0.0.1:${await freePort()}` }
  })

  test('and says so; without keys there is no verdict on a token, and the exit code is 0', async () => {
    const fetchedBefore = { ...keys.fetched }

    const { code, stdout, stderr } = await explain(['GET', '/scoped', ...bearer(keys.signToken())], nowhere)

    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('from the configuration alone: no gatepost runs on the admin address')
    expect(stdout).toMatch(/^! identity .*it has no keys yet, and none were asked for/m)
    expect(keys.fetched).toEqual(fetchedBefore)
  })

  test('and may ask for keys, with leave', async () => {
    const token = keys.signToken({ scope: 'read:users' })

    const { stdout } = await explain(['GET', '/scoped', '--ask', ...bearer(token)], nowhere)

    expect(stdout).toContain('allowed: the request goes on to the upstream')
  })

  test.each([
    [['GET', '/limited'], /refused: 401 missing_token/],
    [['DELETE', '/scoped'], /refused: 405 method_not_allowed/],
    [['GET', '/limited', '--setting', 'auth=none'], /few: 2\/1h by client \(gcra\), 2 left/],
  ])('%j', async (args, answer) => {
    const { code, stdout } = await explain(args, nowhere)

    expect(code).toBe(0)
    expect(stdout).toMatch(answer)
  })
})

describe('is refused', () => {
  test.each([[['GET']], [['GET', 'no-slash']], [['GET', '/', '-H', 'x']], [['GET', '/', '--loud']]])(
    'as misuse with 64: %j',
    async (args) => {
      const { code, stdout, stderr } = await explain(args)

      expect([code, stdout]).toEqual([64, ''])
      expect(stderr).toMatch(/Try gatepost (explain )?--help\n$/)
    },
  )

  test('with 78 and every problem where the configuration must answer and has some', async () => {
    const { code, stdout, stderr } = await explain(['GET', '/'], {
      GATEPOST_ADMIN_ADDRESS: `127.0.0.1:${await freePort()}`,
      GATEPOST_POLICY: 'routes: [{nam: a}]',
      LOG_LEVEL: 'loud',
    })

    expect([code, stdout]).toEqual([78, ''])
    expect(stderr).toMatch(/^The configuration has \d problems:\n/)
  })

  test('with 78 by a gatepost that does not know the token', async () => {
    const { code, stdout, stderr } = await explain(['GET', '/'], {
      GATEPOST_ADMIN_TOKEN: 'another-admin-token',
    })

    expect([code, stdout]).toEqual([78, ''])
    expect(stderr).toBe(
      'The configuration has a problem:\n' +
        `- GATEPOST_ADMIN_ADDRESS: cannot ask the gatepost on ${running.adminAddress}: ` +
        'it does not take the admin token; is GATEPOST_DATA_DIR or GATEPOST_ADMIN_TOKEN the same?\n',
    )
  })

  test.each([
    ['answers with a page', 200, '<html>', 'what answers there is no gatepost that explains'],
    ['answers with other JSON', 200, '{"ok": true}', 'what answers there is no gatepost that explains'],
    ['knows no such thing', 404, '{"title": "Not found"}', 'status 404, Not found'],
    ['fails', 500, 'oops', 'status 500'],
  ])('with 78 where somebody else is there who %s', async (_what, status, body, why) => {
    const other = opened.adopt(
      createServer((request, response) => {
        request.resume()
        response.writeHead(status).end(body)
      }),
      (server) => void server.close(),
    )
    const address = `127.0.0.1:${await listen(other)}`

    const { code, stdout, stderr } = await explain(['GET', '/'], { GATEPOST_ADMIN_ADDRESS: address })

    expect([code, stdout]).toEqual([78, ''])
    expect(stderr).toContain(`- GATEPOST_ADMIN_ADDRESS: cannot ask the gatepost on ${address}: ${why}\n`)
  })
})
