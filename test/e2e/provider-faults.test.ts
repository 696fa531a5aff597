import { createServer, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { requestWaitMs } from '../../src/app-auth.ts'
import { checkToken, describeOutcome } from '../support/check-outcome.ts'
import { type Gatepost, startGatepost } from '../support/gatepost.ts'
import { connectGrpc } from '../support/grpc-client.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../support/openid-provider.ts'
import { freePort, listen } from '../support/ports.ts'
import { type ProxiedWay, startToxiproxy, type Toxiproxy } from '../support/toxiproxy.ts'
import { type ProviderFaultName, providerFaults, type Seen, seenDuring } from './provider-faults-table.ts'

const buildLimitMs = 300_000
const testLimitMs = 90_000
const recoveryLimitMs = 40_000

const alice = { sub: 'alice', email: 'alice@example.com', name: 'Alice' }

let toxiproxy: Toxiproxy
let garbage: Server
const visitors = new Set<Socket>()
/** One issuer for each service of a provider, so that each can fail alone. */
let providers: Record<'keys' | 'introspection' | 'userinfo', OpenIdProvider>
let apply: Record<ProviderFaultName, (way: ProxiedWay) => Promise<void>>

beforeAll(async () => {
  toxiproxy = await startToxiproxy()
  const [keys, introspection, userinfo] = await Promise.all([
    startOpenIdProvider('oidc'),
    startOpenIdProvider('oidc'),
    startOpenIdProvider('oidc'),
  ])
  providers = { keys, introspection, userinfo }
  garbage = createServer((socket) => {
    visitors.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => visitors.delete(socket))
    socket.end('\u0000\u0001 this is no HTTP \r\n\r\n')
  })
  const garbageAddress = `127.0.0.1:${await listen(garbage)}`
  apply = {
    'a small latency': (way) => way.poison({ type: 'latency', attributes: { latency: 20 } }),
    'a latency beyond every timeout': (way) =>
      way.poison({ type: 'latency', attributes: { latency: 60_000 } }),
    'a black hole': (way) => way.poison({ type: 'timeout', attributes: { timeout: 0 } }),
    'a refused connection': (way) => way.cut(),
    'a reset connection': (way) => way.poison({ type: 'reset_peer', attributes: { timeout: 0 } }),
    'an answer that is garbage': (way) => way.leadTo(garbageAddress),
    'an answer that breaks off': (way) => way.poison({ type: 'limit_data', attributes: { bytes: 40 } }),
    'an answer that drips byte by byte': (way) =>
      way.poison({ type: 'slicer', attributes: { average_size: 1, size_variation: 0, delay: 1_000_000 } }),
  }
}, buildLimitMs)

afterAll(async () => {
  await toxiproxy.stop()
  await Promise.all(Object.values(providers).map((provider) => provider.stop()))
  garbage.close()
  for (const socket of visitors) socket.destroy()
})

/** The ways that lead to the providers, each through the proxy. */
async function openWays() {
  const wayTo = async ({ origin }: OpenIdProvider) => toxiproxy.wayTo(new URL(origin).host, await freePort())
  const [keys, introspection, userinfo] = await Promise.all([
    wayTo(providers.keys),
    wayTo(providers.introspection),
    wayTo(providers.userinfo),
  ])
  return { keys, introspection, userinfo }
}

type Ways = Awaited<ReturnType<typeof openWays>>

/** A URL of a provider, by way of the proxy. */
function by(way: ProxiedWay, url: string): string {
  return Object.assign(new URL(url), { host: way.address }).href
}

/** A Gatepost that trusts the three; only what is under test goes through the proxy. */
function startBehind(ways: Ways): Promise<Gatepost> {
  const { keys, introspection, userinfo } = providers
  const asking = ({ client }: OpenIdProvider) => ({
    validation: 'introspection',
    client_id: client.id,
    client_secret: client.secret,
  })
  const issuers = [
    {
      name: 'keys',
      issuer: keys.issuer,
      audience: keys.audience,
      jwks_uri: by(ways.keys, keys.jwksUri),
    },
    {
      name: 'userinfo',
      issuer: userinfo.issuer,
      audience: '*',
      ...asking(userinfo),
      introspection_endpoint: userinfo.introspectionUri,
      userinfo: true,
      userinfo_endpoint: by(ways.userinfo, userinfo.userinfoUri),
    },
    {
      name: 'introspection',
      issuer: introspection.issuer,
      audience: introspection.audience,
      ...asking(introspection),
      introspection_endpoint: by(ways.introspection, introspection.introspectionUri),
    },
  ]
  return startGatepost({ GATEPOST_POLICY: JSON.stringify({ issuers }) })
}

/** A fresh token for each column of the table: nothing of it is remembered. */
async function freshTokens(): Promise<Seen> {
  return {
    jwt: providers.keys.signToken(),
    opaque: await providers.introspection.issueToken({ format: 'opaque' }),
    unknown: `unknown-${crypto.randomUUID()}`,
    userinfo: await providers.userinfo.issueUserToken(alice),
  }
}

/** Shows each token once. */
async function show({ grpcAddress }: Gatepost, tokens: Seen): Promise<Seen> {
  using client = connectGrpc(grpcAddress)
  const entries = Object.entries(tokens).map(async ([name, token]) => {
    return [name, describeOutcome(await checkToken(client, token))]
  })
  return Object.fromEntries(await Promise.all(entries))
}

const right: Seen = { jwt: 'allow', opaque: 'allow', unknown: 'deny invalid_token', userinfo: 'allow' }

function isRight(seen: Seen): boolean {
  return JSON.stringify(seen) === JSON.stringify(right)
}

describe('what callers see', () => {
  test.each(providerFaults)(
    'during %s, and that all is right after it by itself',
    async (fault) => {
      const ways = await openWays()
      for (const way of Object.values(ways)) await apply[fault](way)
      await using gatepost = await startBehind(ways)

      const during = await show(gatepost, await freshTokens())
      for (const way of Object.values(ways)) await way.heal()
      const after = await gatepost.process.until(async () => {
        const seen = await show(gatepost, await freshTokens())
        return isRight(seen) ? seen : undefined
      }, recoveryLimitMs)

      expect(during).toEqual(seenDuring[fault])
      expect(after).toEqual(right)
    },
    testLimitMs,
  )

  test(
    'while one provider is a black hole: callers of the others see none of it',
    async () => {
      const ways = await openWays()
      await using gatepost = await startBehind(ways)
      await apply['a black hole'](ways.introspection)

      const { jwt, userinfo, opaque } = await show(gatepost, await freshTokens())

      expect({ jwt, userinfo, opaque }).toEqual({ ...right, unknown: undefined, opaque: 'fault UNAVAILABLE' })
    },
    testLimitMs,
  )

  test(
    'of the wait is bounded by Gatepost: it says itself that no answer came in time',
    async () => {
      const ways = await openWays()
      await using gatepost = await startBehind(ways)
      await apply['a black hole'](ways.introspection)

      await show(gatepost, await freshTokens())

      const told = await gatepost.process.line((line) =>
        line.includes(`no answer within ${requestWaitMs} ms`),
      )
      expect(told).toContain('Cannot ask introspection.introspection')
    },
    testLimitMs,
  )

  test(
    'once keys are loaded: their tokens are judged through every fault, and a new key is taken up after it',
    async () => {
      const ways = await openWays()
      await using gatepost = await startBehind(ways)
      using client = connectGrpc(gatepost.grpcAddress)
      const verdict = async (token: string) => describeOutcome(await checkToken(client, token))
      const old = providers.keys.signToken()
      const during: Record<string, string[]> = {}

      for (const fault of providerFaults) {
        await apply[fault](ways.keys)
        during[fault] = [
          await verdict(providers.keys.signToken()),
          await verdict(providers.keys.signToken({ exp: 1 })),
        ]
        await ways.keys.heal()
      }
      await apply['a refused connection'](ways.keys)
      await providers.keys.rotateKeys()
      const rotated = await verdict(providers.keys.signToken())
      await ways.keys.heal()
      await gatepost.process.until(
        async () => (await verdict(providers.keys.signToken())) === 'allow' || undefined,
        recoveryLimitMs,
      )

      const always = ['allow', 'deny invalid_token']
      expect(during).toEqual(Object.fromEntries(providerFaults.map((fault) => [fault, always])))
      expect(rotated).toBe('deny invalid_token')
      expect(await verdict(old)).toBe('allow')
    },
    testLimitMs,
  )
})

test(
  'what userinfo tells arrives through a slow network, and a forged header does not',
  async () => {
    const ways = await openWays()
    await apply['a small latency'](ways.userinfo)
    await using gatepost = await startBehind(ways)
    using client = connectGrpc(gatepost.grpcAddress)

    const { upstreamHeaders } = await checkToken(client, await providers.userinfo.issueUserToken(alice))

    expect(upstreamHeaders).toMatchObject({
      'x-user-id': 'alice',
      'x-auth-issuer': providers.userinfo.issuer,
      'x-gatepost-email': 'alice@example.com',
      'x-gatepost-name': 'Alice',
    })
  },
  testLimitMs,
)
