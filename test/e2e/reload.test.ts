import { rename, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { type Gatepost, type LogLine, parseLogLine, startGatepost } from '../support/gatepost.ts'
import { connectGrpc, type GrpcClient } from '../support/grpc-client.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../support/openid-provider.ts'
import { freePort } from '../support/ports.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

// Each test starts a process, on machines that may be busy.
jest.setTimeout(60_000)

let one: OpenIdProvider
let two: OpenIdProvider
beforeAll(async () => {
  ;[one, two] = await Promise.all([startOpenIdProvider('oidc'), startOpenIdProvider('oidc')])
})
afterAll(() => Promise.all([one.stop(), two.stop()]))

let folder: TempFolder
let opened: AsyncDisposableStack
let path: string
beforeEach(async () => {
  opened = new AsyncDisposableStack()
  folder = opened.use(await tempFolder('reload'))
  path = join(folder.path, 'policy.yaml')
})
afterEach(() => opened.disposeAsync())

/** A running Gatepost that follows the policy file, and what Envoy asks it. */
interface Running {
  gatepost: Gatepost
  client: GrpcClient
}

async function start(policy: string, env: Record<string, string> = {}): Promise<Running> {
  await write(policy)
  const gatepost = opened.use(
    await startGatepost({
      GATEPOST_POLICY_FILE: path,
      GATEPOST_ADMIN_TOKEN: 'the-admin-token-of-this',
      ...env,
    }),
  )
  return { gatepost, client: opened.use(connectGrpc(gatepost.grpcAddress)) }
}

/** Puts another file in its place, as editors and Kubernetes do. */
async function write(policy: string): Promise<void> {
  await writeFile(`${path}.new`, policy)
  await rename(`${path}.new`, path)
}

/** The verdict on a request: `allow`, or the HTTP status of the denial. */
async function verdictOn({ client }: Running, requestPath: string, token?: string): Promise<string> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  const { denied_response } = await client.check({
    attributes: { request: { http: { method: 'GET', path: requestPath, headers } } },
  })
  return denied_response ? `${denied_response.status?.code}` : 'allow'
}

/** Waits until a request gets this verdict: a reload takes effect when it does. */
async function untilVerdict(running: Running, wanted: string, requestPath: string, token?: string) {
  await running.gatepost.process.until(
    async () => (await verdictOn(running, requestPath, token)) === wanted || undefined,
  )
}

function logged({ gatepost }: Running, message: string): LogLine[] {
  return gatepost.process.lines
    .map(parseLogLine)
    .filter((line) => line !== undefined)
    .filter((line) => line.message === message)
}

/** Waits for the n-th line of the log with this message. */
async function untilLogged(running: Running, message: string, count = 1): Promise<LogLine> {
  return running.gatepost.process.until(() => logged(running, message)[count - 1])
}

const refused = 'file not reloaded, its last good content stays'
const taken = 'file reloaded'

const open = { GATEPOST_AUTH: 'none' }
const closedRoute = 'routes: [{name: closed, match: {path: /a}, auth: required}]\n'
const openRoute = 'routes: [{name: open, match: {path: /a}, auth: none}]\n'

describe('a policy file that changes', () => {
  test('takes effect without a restart', async () => {
    const running = await start(openRoute, open)
    const before = await verdictOn(running, '/a')

    await write(closedRoute)
    await untilVerdict(running, 'Unauthorized', '/a')
    await untilLogged(running, taken)

    expect(before).toBe('allow')
    expect(logged(running, taken)).toMatchObject([{ level: 'info', path }])
    expect(logged(running, 'ready')).toHaveLength(1)
  })

  test('and is bad is refused with every problem and its place, and the old stays until it is good', async () => {
    const running = await start(closedRoute, open)

    await write(
      'routes:\n  - {name: open, match: {path: /a//b}, auth: none}\n  - {name: open, auth: {issuers: [x]}}\n',
    )
    const { level, problems } = await untilLogged(running, refused)
    const meanwhile = await verdictOn(running, '/a')
    await write('routes: [{nam: open}]\n')
    const again = await untilLogged(running, refused, 2)
    await write(openRoute)
    await untilVerdict(running, 'allow', '/a')
    // A verdict may come before the line that tells of the reload.
    await untilLogged(running, taken)

    expect({ level, problems }).toEqual({
      level: 'error',
      problems: [
        `${path}:3:12: there are two routes called "open"`,
        `${path}:2:32: "/a//b" is not normalised: no request will ever have it`,
        `${path}:3:35: there is no issuer "x", known are none`,
      ],
    })
    expect(again['problems']).toEqual([
      `${path}:1:10: routes.0: must have required property 'name'`,
      `${path}:1:11: routes.0: there is no setting "nam", did you mean "name"?`,
    ])
    expect(meanwhile).toBe('Unauthorized')
    expect([logged(running, refused).length, logged(running, taken).length]).toEqual([2, 1])
  })

  test('and cannot be read is refused as well', async () => {
    const running = await start(closedRoute, open)

    await rename(path, `${path}.away`)
    const { problems } = await untilLogged(running, refused)

    expect(problems).toEqual([`${path}: cannot read it: ENOENT`])
    expect(await verdictOn(running, '/a')).toBe('Unauthorized')
  })
})

describe('SIGHUP', () => {
  test('has a file reread that does not seem changed', async () => {
    const longAgo = new Date(Date.UTC(2020, 0, 1))
    const running = await start(closedRoute.replace('/a', '/b'), open)
    await utimes(path, longAgo, longAgo)
    await untilLogged(running, taken)
    const before = await stat(path)
    const verdictBefore = await verdictOn(running, '/a')

    await writeFile(path, closedRoute)
    await utimes(path, longAgo, longAgo)
    running.gatepost.process.signal('SIGHUP')
    await untilVerdict(running, 'Unauthorized', '/a')

    const { ino, size, mtimeMs } = await stat(path)
    expect(verdictBefore).toBe('allow')
    expect({ ino, size, mtimeMs }).toEqual({ ino: before.ino, size: before.size, mtimeMs: before.mtimeMs })
  })

  test('has a bad file told again, and a good one taken again', async () => {
    const running = await start(openRoute, open)
    await write('nonsense')
    await untilLogged(running, refused)

    running.gatepost.process.signal('SIGHUP')
    await untilLogged(running, refused, 2)
    await write(closedRoute)
    await untilVerdict(running, 'Unauthorized', '/a')
    running.gatepost.process.signal('SIGHUP')
    await untilLogged(running, taken, 2)

    expect(await verdictOn(running, '/a')).toBe('Unauthorized')
  })

  test('is nothing to a Gatepost without a policy file', async () => {
    const gatepost = opened.use(await startGatepost(open))
    const client = opened.use(connectGrpc(gatepost.grpcAddress))

    gatepost.process.signal('SIGHUP')

    expect(await verdictOn({ gatepost, client }, '/a')).toBe('allow')
  })
})

describe('over a reload', () => {
  test('counters survive, of limits that stay and of limits that change', async () => {
    const policy = (path: string, fair: string) =>
      JSON.stringify({
        defaults: { rate_limits: [{ name: 'fair', limit: fair }] },
        routes: [
          { name: 'own', match: { path: '/own' }, rate_limits: [{ name: 'few', limit: '2/1h' }] },
          { name: 'marker', match: { path }, auth: 'required' },
        ],
      })
    const running = await start(policy('/old', '2/1h'), open)
    const before = [
      await verdictOn(running, '/own'),
      await verdictOn(running, '/own'),
      await verdictOn(running, '/x'),
      await verdictOn(running, '/x'),
      await verdictOn(running, '/x'),
    ]

    await write(policy('/new', '3/1h'))
    await untilVerdict(running, 'Unauthorized', '/new')

    // One more of three than of two: what was taken stays taken.
    const after = [
      await verdictOn(running, '/own'),
      await verdictOn(running, '/x'),
      await verdictOn(running, '/x'),
    ]
    expect(before).toEqual(['allow', 'allow', 'allow', 'allow', 'TooManyRequests'])
    expect(after).toEqual(['TooManyRequests', 'allow', 'TooManyRequests'])
  })

  function trusting(...issuers: { provider: OpenIdProvider; name: string; audience?: string }[]): string {
    return JSON.stringify({
      issuers: issuers.map(({ provider, name, audience = provider.audience }) => ({
        name,
        issuer: provider.issuer,
        audience,
      })),
    })
  }

  async function cacheHits({ gatepost }: Running): Promise<string | undefined> {
    const text = await (await fetch(`http://${gatepost.adminAddress}/metrics`)).text()
    return /^gateway_token_cache_hits_total (\d+)$/m.exec(text)?.[1]
  }

  test('an issuer that goes is forgotten with its cached tokens; one that stays keeps its keys and its tokens', async () => {
    const running = await start(trusting({ provider: one, name: 'one' }, { provider: two, name: 'two' }))
    const [stays, goes] = [one.signToken(), two.signToken()]
    const before = [await verdictOn(running, '/', stays), await verdictOn(running, '/', goes)]
    const fetched = { ...one.fetched }

    await write(trusting({ provider: one, name: 'one' }))
    await untilVerdict(running, 'Unauthorized', '/', goes)
    const hits = Number(await cacheHits(running))
    const after = await verdictOn(running, '/', stays)

    expect(before).toEqual(['allow', 'allow'])
    expect(after).toBe('allow')
    expect(Number(await cacheHits(running))).toBe(hits + 1)
    expect(one.fetched).toEqual(fetched)
  })

  test('an issuer that comes back is asked for its keys anew', async () => {
    const running = await start(trusting({ provider: one, name: 'one' }, { provider: two, name: 'two' }))
    const token = two.signToken()
    await write(trusting({ provider: one, name: 'one' }))
    await untilVerdict(running, 'Unauthorized', '/', token)
    const fetched = two.fetched.jwks

    await write(trusting({ provider: one, name: 'one' }, { provider: two, name: 'two' }))
    await untilVerdict(running, 'allow', '/', token)

    expect(two.fetched.jwks).toBe(fetched + 1)
  })

  test('an issuer whose terms change is another: a token that was good by the old is judged by the new', async () => {
    const running = await start(trusting({ provider: one, name: 'one' }, { provider: two, name: 'two' }))
    const [stays, changes] = [one.signToken(), two.signToken()]
    const before = [await verdictOn(running, '/', stays), await verdictOn(running, '/', changes)]

    await write(trusting({ provider: one, name: 'one' }, { provider: two, name: 'two', audience: 'another' }))
    await untilVerdict(running, 'Unauthorized', '/', changes)

    expect(before).toEqual(['allow', 'allow'])
    expect(await verdictOn(running, '/', stays)).toBe('allow')
    expect(await verdictOn(running, '/', two.signToken({ aud: 'another' }))).toBe('allow')
  })

  test('a new issuer that is down keeps nothing of the policy from taking effect', async () => {
    const running = await start(trusting({ provider: one, name: 'one' }))
    const token = one.signToken()
    const down = `http://127.0.0.1:${await freePort()}`
    const policy = JSON.parse(trusting({ provider: one, name: 'one' })) as { issuers: object[] }

    await write(
      JSON.stringify({
        issuers: [...policy.issuers, { name: 'down', issuer: down, audience: 'api' }],
        routes: [{ name: 'open', match: { path: '/open' }, auth: 'none' }],
      }),
    )
    await untilVerdict(running, 'allow', '/open')

    expect(await verdictOn(running, '/', token)).toBe('allow')
    const readiness = await (await fetch(`http://${running.gatepost.adminAddress}/readyz`)).json()
    expect(readiness).toMatchObject({ status: 'ready', issuers: { one: { keys: 1 }, down: { keys: 0 } } })
  })
})
