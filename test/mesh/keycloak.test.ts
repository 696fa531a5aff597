import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { type Caller, Callers } from '../support/callers.ts'
import { type Envoy, startEnvoy } from '../support/envoy.ts'
import { bundledConfig } from '../support/envoy-config.ts'
import { type Keycloak, startKeycloak } from '../support/keycloak.ts'
import type { KeycloakRealm } from '../support/keycloak-realm.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { bearer, type Judge, startJudge, type Way, ways } from './judge.ts'
import { keyIdOf, withClaims, withHeader } from './tokens.ts'

// Keycloak starts twice here, on machines that may be busy; the first time it is fetched and built as well.
jest.setTimeout(300_000)
const installLimitMs = 900_000

const fault = 'UNAVAILABLE'
const refused = 'Unauthorized'

let keycloak: Keycloak
/** For every test that leaves it as it is but for tokens and logins of its own. */
let realm: KeycloakRealm
let judges: Record<Way, Judge>
const parts = new AsyncDisposableStack()
beforeAll(async () => {
  keycloak = parts.use(await startKeycloak({ progress: print }))
  realm = await keycloak.createRealm()
  judges = {
    keys: parts.use(await startJudge(realm, 'keys')),
    'keys and userinfo': parts.use(await startJudge(realm, 'keys and userinfo')),
    introspection: parts.use(await startJudge(realm, 'introspection')),
    'introspection and userinfo': parts.use(await startJudge(realm, 'introspection and userinfo')),
  }
}, installLimitMs)
afterAll(() => parts.disposeAsync())

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

describe.each(ways)('by %s', (way) => {
  let judge: Judge
  beforeAll(() => {
    judge = judges[way]
  })

  test('a service account is allowed, and named to the upstream', async () => {
    const { verdict, headers } = await judge.check(await realm.clientToken())

    expect(verdict).toBe('allowed')
    expect(headers).toMatchObject({
      'x-user-id': realm.serviceAccountId,
      'x-client-id': 'shop',
      'x-auth-issuer': realm.issuer,
    })
    expect(headers['x-auth-scopes']?.split(' ').toSorted()).toEqual(['email', 'profile'])
  })

  test('a user is allowed, and named to the upstream', async () => {
    const { verdict, headers } = await judge.check((await realm.logIn()).access)

    expect(verdict).toBe('allowed')
    expect(headers).toMatchObject({ 'x-user-id': realm.userId, 'x-client-id': 'shop' })
  })

  test('a token for another audience is refused', async () => {
    expect(await judge.check(await realm.clientToken('stranger'))).toMatchObject({
      verdict: refused,
      detail: 'The token is meant for another audience.',
    })
  })

  test('a token that nobody signed is refused', async () => {
    expect(await judge.check(forged(await realm.clientToken()))).toMatchObject({ verdict: refused })
  })

  test('a token of another realm is refused', async () => {
    const other = await keycloak.createRealm()

    expect(await judge.check(await other.clientToken())).toMatchObject({
      verdict: refused,
      detail: 'The token is from an issuer that is not trusted here.',
    })
  })

  test('what is no token at all is refused', async () => {
    expect(await judge.check('not-a-token')).toMatchObject({ verdict: refused })
  })

  test.each(['id', 'refresh'] as const)('the %s token of a login is refused', async (kind) => {
    const tokens = await realm.logIn()

    expect(await judge.check(tokens[kind])).toMatchObject({ verdict: refused })
  })
})

test.each<Way>(['keys and userinfo', 'introspection and userinfo'])(
  'by %s the upstream is told about the user, and nothing about a service account',
  async (way) => {
    const user = await judges[way].check((await realm.logIn()).access)
    const service = await judges[way].check(await realm.clientToken())

    expect(profileOf(user.headers)).toEqual({
      'x-gatepost-email': 'ada@example.com',
      'x-gatepost-email-verified': 'true',
      'x-gatepost-name': 'Ada Lovelace',
      'x-gatepost-preferred-username': 'ada',
    })
    expect(profileOf(service.headers)).toEqual({})
  },
)

describe('what was good and is no longer', () => {
  test.each<Way>(['introspection', 'introspection and userinfo'])(
    'by %s a revoked token is refused once its answer is no longer remembered, and stays so',
    async (way) => {
      const [token, other] = [await realm.clientToken(), await realm.clientToken()]
      await using callers = new Callers(
        [verdictsOf(judges[way], 'revoked', token), verdictsOf(judges[way], 'other', other)],
        'good',
      )
      await callers.until((name) => callers.count(name, 'good') > 0)

      await callers.enter('revoking')
      await realm.revoke(token)
      await callers.until(() => callers.last('revoked') === refused)
      await callers.enter('revoked')
      await callers.until((name) => callers.count(name, 'revoked') >= 100)

      expect(callers.answers('revoked', 'good')).toEqual(['allowed'])
      expect(callers.answers('revoked', 'revoked')).toEqual([refused])
      for (const phase of ['good', 'revoking', 'revoked']) {
        expect(callers.answers('other', phase)).toEqual(['allowed'])
      }
    },
  )

  test.each<Way>(['introspection', 'introspection and userinfo', 'keys and userinfo'])(
    'by %s a user who logged out is refused once the answer is no longer remembered; another login is not',
    async (way) => {
      const [first, second] = [await realm.logIn(), await realm.logIn()]
      const before = await judges[way].check(first.access)

      await realm.logOut(first)
      await using callers = new Callers([verdictsOf(judges[way], 'first', first.access)], 'logged out')
      await callers.until(() => callers.last('first') === refused)

      expect(before.verdict).toBe('allowed')
      expect(callers.answers('first', 'logged out')).not.toContain(fault)
      expect(await judges[way].check(second.access)).toMatchObject({ verdict: 'allowed' })
    },
  )

  test('by keys alone nobody is told: the token of a user who logged out is good until it expires', async () => {
    const tokens = await realm.logIn()

    await realm.logOut(tokens)

    expect(await judges.introspection.check(tokens.access)).toMatchObject({ verdict: refused })
    expect(await judges.keys.check(tokens.access)).toMatchObject({ verdict: 'allowed' })
  })
})

test('where Keycloak refuses the credentials of Gatepost itself there is a fault, and no verdict', async () => {
  const { issuer, audience } = realm
  const trusted = { issuer, audience, introspectionSecret: 'wrong' }
  await using judge = await startJudge(trusted, 'introspection')

  expect(await judge.check(await realm.clientToken())).toMatchObject({ verdict: fault })
})

describe('keys rotate while callers go on', () => {
  const phases = ['one key', 'new key added', 'old key removed', 'keys fetched again']
  const oldToken = 'a token of the old key'
  const newToken = 'a new token each time'

  test.each<Way>(['keys', 'introspection'])('by %s both are good, then only the new one', async (way) => {
    const rotating = await keycloak.createRealm()
    await using judge = await startJudge(rotating, way)
    const old = await rotating.clientToken()
    await using callers = new Callers(
      [verdictsOf(judge, oldToken, old), newTokens(judge, rotating)],
      'one key',
    )
    const many = (phase: string) => callers.until((name) => callers.count(name, phase) >= 50)
    await many('one key')

    await rotating.addKey()
    await callers.enter('new key added')
    await many('new key added')
    const signedAnew = await rotating.clientToken()
    await callers.enter('old key removed')
    await rotating.removeOldKeys()
    {
      // Gatepost looks for keys every few minutes, and at once where a token names one that it does not know.
      await using _ = new Callers([verdictsOf(judge, 'no key', withHeader(old, { kid: 'nobody' }))], '')
      await callers.until(() => callers.last(oldToken) === refused)
    }
    await callers.enter('keys fetched again')
    await many('keys fetched again')

    print(`\nKeys rotate, tokens judged by ${way}\n\n${callers.table(phases)}\n`)
    expect(keyIdOf(signedAnew)).not.toBe(keyIdOf(old))
    for (const phase of phases) expect(callers.answers(newToken, phase)).toEqual(['allowed'])
    expect(callers.answers(oldToken, 'one key')).toEqual(['allowed'])
    expect(callers.answers(oldToken, 'new key added')).toEqual(['allowed'])
    expect(callers.answers(oldToken, 'keys fetched again')).toEqual([refused])
  })

  test('a new key becomes known although somebody keeps inventing key ids', async () => {
    const rotating = await keycloak.createRealm()
    await using judge = await startJudge(rotating, 'keys')
    const old = await rotating.clientToken()
    const invented = verdictsOf(judge, 'invented key ids', withHeader(old, { kid: 'nobody' }))
    await using callers = new Callers([verdictsOf(judge, oldToken, old), invented], 'one key')
    await callers.until((name) => callers.count(name, 'one key') >= 10)

    await rotating.addKey()
    const anew = await rotating.clientToken()
    await using latecomer = new Callers([verdictsOf(judge, newToken, anew)], 'new key added')
    await latecomer.until(() => latecomer.last(newToken) === 'allowed')
    await latecomer.enter('new key known')
    await latecomer.until(() => latecomer.count(newToken, 'new key known') >= 50)

    print(
      `\nA new key while key ids are invented\n\n${latecomer.table(['new key added', 'new key known'])}\n`,
    )
    expect(latecomer.answers(newToken, 'new key known')).toEqual(['allowed'])
    expect(callers.answers(oldToken, 'one key')).toEqual(['allowed'])
    expect(callers.answers('invented key ids', 'one key')).toEqual([refused])
  })
})

describe('through Envoy', () => {
  let upstream: Upstream
  let envoy: Envoy
  beforeAll(async () => {
    upstream = await startUpstream({ name: 'users' })
    envoy = await startEnvoyBefore(judges['introspection and userinfo'], upstream)
  }, installLimitMs)
  afterAll(async () => {
    await envoy?.stop()
    await upstream?.stop()
  })

  const get = (headers: Record<string, string>) =>
    fetch(`http://${envoy.listeners['ingress']}/users`, { headers })

  test('the upstream learns who is calling from Keycloak, and not from the client', async () => {
    const { access } = await realm.logIn()

    const response = await get({
      ...bearer(access),
      'x-user-id': 'root',
      'x-gatepost-email': 'root@evil.example',
    })

    const { headers } = (await response.json()) as { headers: Record<string, string> }
    expect(response.status).toBe(200)
    expect(headers).toMatchObject({
      'x-user-id': realm.userId,
      'x-client-id': 'shop',
      'x-auth-issuer': realm.issuer,
      'x-gatepost-email': 'ada@example.com',
      'x-gatepost-name': 'Ada Lovelace',
    })
  })

  test('a token for another audience gets 401 and never reaches the upstream', async () => {
    const response = await get({ ...bearer(await realm.clientToken('stranger')), 'x-test': 'stranger' })

    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toContain('error="invalid_token"')
    expect(upstream.requests.filter(({ headers }) => headers['x-test'] === 'stranger')).toEqual([])
  })
})

describe('Keycloak is killed and comes back while callers go on', () => {
  const phases = ['up', 'down', 'coming back', 'up again'] as const

  test('nobody gets a wrong verdict: who must be asked about gets none', async () => {
    await using own = new AsyncDisposableStack()
    // Without its cache every token is verified anew, by keys that Gatepost keeps.
    const keys = own.use(await startJudge(realm, 'keys', { GATEPOST_TOKEN_CACHE_TTL: '0s' }))
    const both = own.use(await startJudge(realm, 'keys and userinfo'))
    const asked = own.use(await startJudge(realm, 'introspection and userinfo'))
    const upstream = own.use(await startUpstream({ name: 'users' }))
    const envoy = own.use(await startEnvoyBefore(asked, upstream))
    const [good, stranger] = [await realm.clientToken(), await realm.clientToken('stranger')]
    const [user, loggedOut] = [await realm.logIn(), await realm.logIn()]
    const revoked = await realm.clientToken()
    await realm.logOut(loggedOut)
    await realm.revoke(revoked)
    const expected: Expected[] = [
      { ...verdictsOf(keys, 'keys: good token', good), right: 'allowed' },
      { ...verdictsOf(keys, 'keys: user', user.access), right: 'allowed' },
      { ...verdictsOf(keys, 'keys: other audience', stranger), right: refused },
      { ...verdictsOf(keys, 'keys: forged token', forged(good)), right: refused },
      { ...verdictsOf(both, 'keys and userinfo: user', user.access), right: 'allowed', fault },
      { ...verdictsOf(both, 'keys and userinfo: logged out', loggedOut.access), right: refused, fault },
      { ...verdictsOf(asked, 'introspection: good token', good), right: 'allowed', fault },
      { ...verdictsOf(asked, 'introspection: user', user.access), right: 'allowed', fault },
      { ...verdictsOf(asked, 'introspection: logged out', loggedOut.access), right: refused, fault },
      { ...verdictsOf(asked, 'introspection: revoked token', revoked), right: refused, fault },
      { ...verdictsOf(asked, 'introspection: other audience', stranger), right: refused, fault },
      { ...verdictsOf(asked, 'introspection: forged token', forged(good)), right: refused, fault },
      { ...statusesOf(envoy, 'introspection, through Envoy: good token', good), right: '200', fault: '503' },
      { ...statusesOf(envoy, 'introspection, through Envoy: revoked', revoked), right: '401', fault: '503' },
    ]
    const rightOf = new Map(expected.map(({ name, right }) => [name, right]))
    const faultOf = new Map(expected.map((caller) => [caller.name, caller.fault]))
    const callers = own.use(new Callers(expected, 'up'))
    const isRight = (name: string) => callers.last(name) === rightOf.get(name)
    await callers.until((name) => callers.count(name, 'up') >= 50)

    await callers.enter('down')
    await whileDown(async () => {
      await callers.until((name) => callers.last(name) === (faultOf.get(name) ?? rightOf.get(name)))
      await callers.until((name) => callers.count(name, 'down') >= 100)
      await callers.enter('coming back')
    })
    await callers.until(isRight)
    await callers.enter('up again')
    await callers.until((name) => callers.count(name, 'up again') >= 100)

    print(`\nKeycloak is killed and comes back\n\n${callers.table(phases)}\n`)
    for (const { name, right, fault: mayFail } of expected) {
      const wrong = (phase: string) =>
        callers.answers(name, phase).filter((answer) => answer !== right && answer !== mayFail)
      expect([name, callers.answers(name, 'up')]).toEqual([name, [right]])
      expect([name, wrong('down'), wrong('coming back')]).toEqual([name, [], []])
      expect([name, callers.answers(name, 'up again')]).toEqual([name, [right]])
    }
  })

  test('a token of a key not fetched yet is refused until it can be: an invented key id makes no fault', async () => {
    const rotating = await keycloak.createRealm()
    await using judge = await startJudge(rotating, 'keys')
    await rotating.addKey()
    const anew = await rotating.clientToken()

    const whenDown = await whileDown(() => judge.check(anew))
    await using caller = new Callers([verdictsOf(judge, 'anew', anew)], 'up again')
    await caller.until(() => caller.last('anew') === 'allowed')

    expect(whenDown).toMatchObject({ verdict: refused })
  })
})

/** Kills Keycloak, does something, and starts it again, whatever came of it. */
async function whileDown<T>(work: () => Promise<T>): Promise<T> {
  await keycloak.kill()
  try {
    return await work()
  } finally {
    await keycloak.start()
  }
}

async function startEnvoyBefore({ grpcAddress }: Judge, { address }: Upstream): Promise<Envoy> {
  return startEnvoy(
    await bundledConfig('ext-authz', {
      listenerPort: 0,
      adminPort: 0,
      clusters: { gatepost: grpcAddress, user_service: address, order_service: address },
    }),
    { progress: print },
  )
}

/** A caller, what it gets while Keycloak is up, and what it may get besides while Keycloak is not. */
interface Expected extends Caller {
  right: string
  fault?: string
}

/** Somebody who shows one token to Gatepost, again and again. */
function verdictsOf(judge: Judge, name: string, token: string): Caller {
  return { name, ask: () => verdictOn(judge, token) }
}

async function verdictOn(judge: Judge, token: string): Promise<string> {
  return (await judge.check(token)).verdict
}

/** Somebody who gets a token before each request, and so one of a new key from the moment on at which it signs. */
function newTokens(judge: Judge, rotating: KeycloakRealm): Caller {
  return { name: 'a new token each time', ask: async () => verdictOn(judge, await rotating.clientToken()) }
}

/** Somebody who sends requests with one token through Envoy. */
function statusesOf({ listeners }: Envoy, name: string, token: string): Caller {
  return {
    name,
    async ask() {
      const response = await fetch(`http://${listeners['ingress']}/users`, { headers: bearer(token) })
      await response.body?.cancel()
      return String(response.status)
    },
  }
}

/** The token as a thief would like it: somebody else's, with the signature it had. */
function forged(token: string): string {
  return withClaims(token, { sub: 'root' })
}

/** The headers that tell of a user. */
function profileOf(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith('x-gatepost-')))
}
