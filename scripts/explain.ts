import { createHash, randomUUID } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createExplain, guardedServices } from '../src/app.ts'
import { issuerSpec } from '../src/app-auth.ts'
import { createAuthenticator } from '../src/auth/authenticator.ts'
import type { TrustedIssuer } from '../src/auth/trusted-issuer.ts'
import { createIssuerVerifier } from '../src/auth/verifier.ts'
import { createCircuits } from '../src/circuit/circuits.ts'
import { type Invocation, parseArguments } from '../src/cli/arguments.ts'
import { explainCommand } from '../src/cli/explain.ts'
import { readSettings, type Settings } from '../src/config/settings.ts'
import { type ExplainRequest, explainContext } from '../src/core/explain-request.ts'
import type { Authenticate } from '../src/core/gateway.ts'
import { createGateway } from '../src/core/gateway.ts'
import { createQuota } from '../src/core/quota.ts'
import { createRoutes } from '../src/core/routes.ts'
import { MemoryLimiter } from '../src/ratelimit/memory.ts'
import { FakeClock } from '../test/support/fake-clock.ts'
import { createSigner, type Signer } from '../test/support/signer.ts'
import { createTestIssuer } from '../test/support/test-issuer.ts'
import { examplePath } from './policy.ts'
import { fillSections } from './sections.ts'

/** The page on disk. */
export const pagePath = fileURLToPath(new URL('../docs/explain.md', import.meta.url))

/** One explanation of the page. */
interface Case {
  title: string
  about: string
  /** The command line after `gatepost explain`; `$NAME` stands for a token. */
  args: readonly string[]
  /** How often the same request was decided before; default: never. */
  before?: number
  /** The service whose circuit somebody has opened for half a minute; default: none. */
  opened?: string
}

const silent = { debug: unheard, info: unheard, warn: unheard, error: unheard }

function unheard(): void {}

const users = ['GET', '/api/users/7', '--host', 'api.example.com']
const reports = ['GET', '/api/reports/2029', '--host', 'api.example.com']

function bearer(name: string): string[] {
  return ['-H', `authorization: Bearer $${name}`]
}

/** The cases of the page. */
export const cases: readonly Case[] = [
  {
    title: 'Allowed',
    about:
      'The upstream learns who is calling; the client’s own `x-tier` is replaced by what the token says. Limits are told as they ' +
      'stand, and nothing is taken from them.',
    args: [...users, ...bearer('TOKEN'), '-H', 'x-tier: gold'],
  },
  { title: 'No token', about: 'The route asks for a credential and there is none.', args: users },
  {
    title: 'An expired token',
    about:
      'The caller is told `invalid_token`, as of every bad token; the exact cause stands in parentheses.',
    args: [...users, ...bearer('EXPIRED')],
  },
  {
    title: 'A token for somebody else',
    about: 'Signed by the right issuer, but its `aud` names another API.',
    args: [...users, ...bearer('FOREIGN')],
  },
  {
    title: 'A scope is lacking',
    about: 'A good token of a known caller, without what this route asks for.',
    args: [...reports, ...bearer('TOKEN')],
  },
  {
    title: 'A claim has the wrong value',
    about: 'The scope is there; the tier is none of those that the route asks for.',
    args: [...reports, ...bearer('TRIAL')],
  },
  {
    title: 'Too many requests, by one of two limits',
    about:
      'The same caller has asked three times within the same instant. The limit `burst` has nothing left, `total` has plenty and ' +
      'would not have been charged.',
    args: [...users, ...bearer('TOKEN')],
    before: 3,
  },
  {
    title: 'A circuit is open',
    about:
      'Somebody has opened the circuit of `user-service` by hand; one that opened by itself looks the same. The quota is not asked, ' +
      'let alone charged.',
    args: [...users, ...bearer('TOKEN')],
    opened: 'user-service',
  },
  {
    title: 'Shadow mode',
    about: 'The route only reports: a request without a token would be refused, and goes on, as nobody.',
    args: ['GET', '/api/search', '--host', 'api.example.com', '--client-address', '198.51.100.7'],
  },
  {
    title: 'A method that the route does not have',
    about: 'The route of this path decides; no less specific one and no default is tried.',
    args: ['DELETE', '/api/users/7', '--host', 'api.example.com', ...bearer('TOKEN')],
  },
  {
    title: 'An ambiguous path',
    about: 'One server reads `%2f` as a slash and the next does not. Gatepost does not guess.',
    args: ['GET', '/api/users/..%2freports', '--host', 'api.example.com', ...bearer('TOKEN')],
  },
  {
    title: 'A preflight',
    about: 'A browser asks without a token whether it may PUT; the route lets that question pass.',
    args: [
      ...['OPTIONS', '/api/cart/9', '--host', 'shop.example.com'],
      ...['-H', 'origin: https://app.example.com', '-H', 'access-control-request-method: PUT'],
    ],
  },
  {
    title: 'An issuer without keys',
    about:
      'No verdict: the keys of this issuer were never to be had. That is a fault of ours and no denial, so that Envoy’s own failure ' +
      'mode decides.',
    args: ['GET', '/orders', '--host', 'eu.partner.example', ...bearer('PARTNER')],
  },
  {
    title: 'Envoy’s route overrides the policy',
    about:
      'What Envoy’s route says by `context_extensions` is stronger than the file: here it selects a route of the policy by name, asks ' +
      'for no scope and counts addresses.',
    args: [
      ...['GET', '/internal/users', '--client-address', '2001:db8::7', ...bearer('TOKEN')],
      ...['--setting', 'route=users', '--setting', 'scopes=', '--setting', 'rate_limit=5/1m'],
      ...['--setting', 'rate_limit_key=ip'],
    ],
  },
]

/** What answers: as the running Gatepost does, with a clock that stands still and issuers whose keys are at hand. */
interface Answerer {
  tokens: Readonly<Record<string, string>>
  /** Writes what `gatepost explain ARGS` would, after what has happened before. */
  answer(args: readonly string[], past: Pick<Case, 'before' | 'opened'>): Promise<string>
}

async function createAnswerer(): Promise<Answerer> {
  const settings = exampleSettings()
  const clock = new FakeClock()
  const signer = await createSigner('RS256', 'key-1')
  const issuers = await Promise.all(
    settings.policy.first.issuers.map(async (issuer) => {
      const spec = issuerSpec(issuer)
      const { keys, keySet, claims } = createTestIssuer({ clock, ...spec })
      if (spec.name !== 'partner') keys.publish(signer.jwk)
      await keySet.start()
      const find = async (keyId: string | undefined, algorithm: string) => keySet.known(keyId, algorithm)
      const verifier = createIssuerVerifier(spec, { find }, settings.tokens.clockSkewSeconds)
      return { spec, claims, judge: { kind: 'keys' as const, verifier } }
    }),
  )
  const [house, partner] = issuers
  if (!house || !partner) throw new Error(`Cannot explain: ${examplePath} has not the issuers it should`)
  const authenticate = authenticatorOf(issuers)
  return {
    tokens: await signTokens(signer, house.claims, partner.claims, clock.now() / 1_000),
    answer: (args, past) => answer(settings, authenticate, clock.now, args, past),
  }
}

function exampleSettings(): Settings {
  const read = readSettings({ GATEPOST_POLICY_FILE: examplePath })
  if (read.kind === 'settings') return read.settings
  throw new Error(`Cannot explain: the example has problems: ${read.problems.join('; ')}`)
}

function authenticatorOf(issuers: readonly TrustedIssuer[]): Authenticate {
  const cache = { get: () => undefined, set: () => undefined }
  const nobody = { cacheHit: () => undefined, cacheMiss: () => undefined, refused: () => undefined }
  return createAuthenticator({ issuers, cache, observer: nobody })
}

type Claims = (more: Record<string, unknown>) => Record<string, unknown>

async function signTokens({ sign }: Signer, house: Claims, partner: Claims, nowSeconds: number) {
  const alice = { sub: 'alice', azp: 'shop', scope: 'read:users', tier: 'silver' }
  return {
    TOKEN: await sign(house(alice)),
    EXPIRED: await sign(house({ ...alice, exp: nowSeconds - 3_600 })),
    FOREIGN: await sign(house({ ...alice, aud: 'https://files.example.com' })),
    TRIAL: await sign(house({ sub: 'bob', azp: 'shop', scope: 'read:reports', tier: 'trial' })),
    PARTNER: await sign(partner({ sub: 'carol' })),
  }
}

/** Fresh counters for every answer, so that their order means nothing. */
async function answer(
  settings: Settings,
  authenticate: Authenticate,
  now: () => number,
  args: readonly string[],
  { before = 0, opened }: Pick<Case, 'before' | 'opened'>,
): Promise<string> {
  const routes = createRoutes(settings.policy.first.routes)
  const quota = createQuota({
    limiter: new MemoryLimiter(),
    hash: sha256,
    publish: () => undefined,
    events: 'first',
  })
  const circuits = createCircuits({
    clock: { now, after: () => () => undefined },
    publish: () => undefined,
    logger: silent,
    random: () => 0,
    replica: 'gatepost-1',
  })
  circuits.declare(guardedServices(settings.policy.first.routes))
  if (opened !== undefined)
    circuits.override(opened, { override: 'open', reason: 'maintenance', forMs: 30_000 })
  const common = { routes, authenticate, credentialHeaders: [], circuits, quota, now, tellsShadow: false }
  const unheard = { publish: () => undefined, onOutcome: () => undefined, onShadowFault: () => undefined }
  const gateway = createGateway({ ...common, ...unheard, randomId: randomUUID })
  const explain = createExplain({
    routes,
    auth: { explainer: () => authenticate, credentialHeaders: [] },
    circuits,
    quota,
    now,
  })
  const said: string[] = []
  const { operands, options } = parsed(['explain', ...args])
  await explainCommand(operands, options, {
    async ask(request: ExplainRequest) {
      for (let time = 0; time < before; time += 1) await gateway.decide(explainContext(request, now()))
      return {
        explanation: await explain(request),
        by: 'says the gatepost that runs on 127.0.0.1:9002',
      }
    },
    answer: (text) => said.push(text),
    complain: unwanted,
    colour: false,
  })
  return said.join('')
}

function parsed(argv: readonly string[]): Extract<Invocation, { kind: 'run' }> {
  const invocation = parseArguments(argv)
  if (invocation.kind === 'run') return invocation
  throw new Error(`Cannot explain: gatepost does not take ${argv.join(' ')}`)
}

function unwanted(text: string): never {
  throw new Error(`Cannot explain: ${text}`)
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url')
}

/** A command as people type it: tokens stay names of variables. */
function shell(args: readonly string[]): string {
  return args.map(quote).join(' ')
}

function quote(arg: string): string {
  if (arg.includes('$')) return `"${arg}"`
  return /^[\w./:=%-]+$/.test(arg) ? arg : `'${arg}'`
}

function withTokens(arg: string, tokens: Answerer['tokens']): string {
  return arg.replace(/\$([A-Z]+)/, (_text, name: string) => tokens[name] ?? unwanted(`no token ${name}`))
}

async function write({ args, ...past }: Case, { tokens, answer }: Answerer): Promise<string> {
  const text = await answer(
    args.map((arg) => withTokens(arg, tokens)),
    past,
  )
  return `\`\`\`console\n$ gatepost explain ${shell(args)}\n${text.trimEnd()}\n\`\`\``
}

/** Fills the generated sections of the page. @throws Error where it has one that nothing fills, or lacks one. */
export async function fillPage(page: string): Promise<string> {
  const answerer = await createAnswerer()
  const written = await Promise.all(
    cases.map(
      async (one, at) => `### ${at + 1}. ${one.title}\n\n${one.about}\n\n${await write(one, answerer)}`,
    ),
  )
  const limited = cases.find(({ before }) => before !== undefined) ?? unwanted('no case has a limit')
  const json = await write({ ...limited, args: [...limited.args, '--json'] }, answerer)
  return fillSections(page, { cases: () => written.join('\n\n'), json: () => json })
}

if (import.meta.main) writeFileSync(pagePath, await fillPage(readFileSync(pagePath, 'utf8')))
