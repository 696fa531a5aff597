import Type, { type Static } from 'typebox'
import { shadowParts } from '../core/shadow.ts'
import { circuitSchema } from './circuit-settings.ts'
import { createDocumentReader } from './document.ts'
import { issuerUrl, Unfit } from './parsers.ts'

const url = (description: string) => Type.String({ pattern: '^https?://', maxLength: 2_048, description })

const label = (description: string) => Type.String({ minLength: 1, maxLength: 128, description })

const scope = Type.String({
  pattern: '^[\\x21\\x23-\\x5b\\x5d-\\x7e]+$',
  description: 'A scope: printable ASCII without blank, quote and backslash.',
})

const algorithm = Type.Enum(
  ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'],
  { description: 'A signature algorithm; never none, never HMAC.' },
)

const issuer = Type.Object(
  {
    name: Type.String({
      pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
      description: 'Short name, for routes, metrics and logs.',
    }),
    issuer: url('The issuer exactly as its tokens name it in iss.'),
    audience: Type.Union(
      [Type.String({ minLength: 1 }), Type.Array(Type.String({ minLength: 1 }), { minItems: 1 })],
      { description: 'Audiences of which a token must name one; * for any.' },
    ),
    algorithms: Type.Optional(
      Type.Array(algorithm, { minItems: 1, description: 'Which it may sign with. Default: all of them.' }),
    ),
    jwks_uri: Type.Optional(url('Where its keys are. Default: where its discovery document says.')),
    validation: Type.Optional(
      Type.Enum(['jwt', 'introspection'], {
        description: 'By its keys, or by asking it (RFC 7662). Default: jwt.',
      }),
    ),
    introspection_endpoint: Type.Optional(
      url('Where it is asked. Default: where its discovery document says.'),
    ),
    client_id: Type.Optional(
      Type.String({ minLength: 1, description: 'Client id by which Gatepost introspects.' }),
    ),
    client_secret: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'Its secret; a dollar sign and a name in braces take it from the environment.',
      }),
    ),
    client_secret_file: Type.Optional(
      Type.String({ minLength: 1, description: 'A file with the secret; reread when it changes.' }),
    ),
    userinfo: Type.Optional(
      Type.Boolean({ description: 'Whether its userinfo endpoint is asked about users. Default: false.' }),
    ),
    userinfo_endpoint: Type.Optional(url('Where that is. Default: where its discovery document says.')),
  },
  { additionalProperties: false, description: 'Somebody whose tokens are trusted.' },
)

const claims = Type.Record(
  Type.String({ pattern: '^.{1,256}$' }),
  Type.Array(Type.Union([Type.String(), Type.Number(), Type.Boolean()]), { minItems: 1 }),
  {
    additionalProperties: false,
    description:
      'Claims that a caller must have (a path of names is joined by dots), each with one of these values. Default: inherited.',
  },
)

const scopes = Type.Array(scope, {
  description:
    'Scopes that a caller must hold, all of them; an empty list asks for none. Default: inherited.',
})

const authMode = Type.Enum(['required', 'optional', 'none'], {
  description: 'Whether a caller must show a credential; optional accepts none, but no bad one.',
})

const auth = Type.Union(
  [
    authMode,
    Type.Object(
      {
        mode: Type.Optional(
          Type.Enum(['required', 'optional'], {
            description: 'Whether a credential must be shown. Default: required.',
          }),
        ),
        issuers: Type.Optional(
          Type.Array(Type.String(), {
            minItems: 1,
            description: 'Short names of the issuers that will do. Default: inherited, at first all.',
          }),
        ),
        api_key: Type.Optional(
          Type.Boolean({
            description:
              'Whether an API key will do. Default: inherited, at first true; false where issuers are named.',
          }),
        ),
        certificate: Type.Optional(
          Type.Boolean({
            description:
              'Whether a client certificate will do. Default: inherited, at first true; false where issuers are named.',
          }),
        ),
        scopes: Type.Optional(scopes),
        claims: Type.Optional(claims),
      },
      { additionalProperties: false },
    ),
  ],
  { description: 'Who may come: required, optional or none, or in detail. Default: inherited.' },
)

const rate = Type.String({
  pattern: '^\\d{1,10}/\\d{0,9}(ms|s|m|h|d)$',
  description: 'So many requests in so much time, such as 100/1m.',
})

const limit = Type.Object(
  {
    name: Type.String({
      pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$',
      description: 'Its name in headers, events and metrics.',
    }),
    limit: rate,
    by: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          'Whom it counts: client, user, ip, route, header:NAME or claim:NAME, several joined by +. Default: client.',
      }),
    ),
    algorithm: Type.Optional(
      Type.Enum(['gcra', 'fixed-window', 'sliding-window'], { description: 'How it counts. Default: gcra.' }),
    ),
    burst: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1_000_000_000,
        description: 'Requests at once, for gcra. Default: the limit.',
      }),
    ),
    cost: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1_000_000, description: 'What one request counts. Default: 1.' }),
    ),
    plan: Type.Optional(
      Type.Object(
        {
          claim: Type.String({ minLength: 1, description: 'The claim that names the plan.' }),
          limits: Type.Record(Type.String({ pattern: '^.{1,256}$' }), rate, {
            additionalProperties: false,
            description: 'The rate of each plan, by the value of the claim; who has none of them gets limit.',
          }),
        },
        { additionalProperties: false, description: 'Limits that hang on a claim of the caller.' },
      ),
    ),
  },
  { additionalProperties: false, description: 'A limit on how often.' },
)

const limits = Type.Array(limit, {
  maxItems: 16,
  description:
    'All of them must leave room; none is charged where one refuses. An empty list clears. Default: inherited.',
})

const shadow = Type.Array(Type.Enum([...shadowParts]), {
  uniqueItems: true,
  description:
    'Parts that report what they would refuse, and refuse nothing. An empty list clears. Default: inherited.',
})

const match = Type.Object(
  {
    host: Type.Optional(
      Type.String({
        pattern: '^(\\*\\.)?[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$|^\\[[0-9a-fA-F:.]+\\]$|^\\*$',
        description: 'A host, or *. and a domain for all below it. Default: any.',
      }),
    ),
    path: Type.Optional(
      Type.String({
        pattern: '^/',
        maxLength: 2_048,
        description: '/exact, /prefix/* (the prefix and all below), {name} for one segment. Default: any.',
      }),
    ),
    methods: Type.Optional(
      Type.Array(
        Type.String({
          pattern: "^[A-Z0-9!#$%&'*+.^_`|~-]{1,64}$",
          description: 'A method in capitals, such as GET.',
        }),
        {
          minItems: 1,
          description: 'Another method gets 405. Default: any.',
        },
      ),
    ),
  },
  { additionalProperties: false, description: 'Which requests it is for. Default: all.' },
)

const headerName = '^[a-z0-9-]{1,64}$'

const route = Type.Object(
  {
    name: label('Its label, and the name by which a route of Envoy selects it.'),
    match: Type.Optional(match),
    service: Type.Optional(label('The upstream service behind it.')),
    auth: Type.Optional(auth),
    rate_limits: Type.Optional(limits),
    circuit: Type.Optional(circuitSchema),
    shadow: Type.Optional(shadow),
    headers: Type.Optional(
      Type.Record(Type.String({ pattern: headerName }), Type.String({ minLength: 1 }), {
        additionalProperties: false,
        description: 'Headers for the upstream, each with the claim that fills it. No client’s copy passes.',
      }),
    ),
    allow_preflight: Type.Optional(
      Type.Boolean({ description: 'Whether a CORS preflight passes without identity. Default: false.' }),
    ),
  },
  { additionalProperties: false, description: 'What one route asks.' },
)

/** The JSON Schema of the policy file. */
export const policySchema = Type.Object(
  {
    issuers: Type.Optional(Type.Array(issuer, { description: 'Issuers beside those of the environment.' })),
    defaults: Type.Optional(
      Type.Object(
        {
          auth: Type.Optional(auth),
          rate_limits: Type.Optional(limits),
          circuit: Type.Optional(circuitSchema),
          shadow: Type.Optional(shadow),
        },
        {
          additionalProperties: false,
          description: 'What holds for every route that does not say otherwise.',
        },
      ),
    ),
    routes: Type.Optional(Type.Array(route, { description: 'The most specific one that fits decides.' })),
  },
  { additionalProperties: false, description: 'What each route asks of its callers.' },
)

/** The policy file as written. */
export type PolicyDocument = Static<typeof policySchema>

/** An issuer as the policy file describes it. */
export type PolicyIssuer = Static<typeof issuer>

/** Whom a route accepts, as written. */
export type PolicyAuth = Static<typeof auth>

/** A limit as written. */
export type PolicyLimit = Static<typeof limit>

/** A route as written. */
export type PolicyRouteDocument = Static<typeof route>

/** Reads a policy file. */
export const readPolicy = createDocumentReader<PolicyDocument>(policySchema)
/** Finds what the schema cannot say of an issuer. @returns whole sentences. */
export function problemsOfIssuer(issuer: PolicyIssuer, mayFetch: (url: string) => boolean): string[] {
  const problems: string[] = []
  const complain = (text: string) => problems.push(`issuer ${JSON.stringify(issuer.name)}: ${text}`)
  if (!isIssuerUrl(issuer.issuer)) complain(`${JSON.stringify(issuer.issuer)} is no issuer's URL`)
  for (const member of ['issuer', 'jwks_uri', 'introspection_endpoint', 'userinfo_endpoint'] as const) {
    const value = issuer[member]
    if (value !== undefined && !mayFetch(value)) {
      complain(
        `${member} is plain http, which only loopback may use; use https, or set GATEPOST_ALLOW_PLAINTEXT=true`,
      )
    }
  }
  if (issuer.validation === 'introspection') problems.push(...problemsOfClient(issuer))
  return problems
}

function problemsOfClient({ name, client_id, client_secret, client_secret_file }: PolicyIssuer): string[] {
  const secrets = [client_secret, client_secret_file].filter((secret) => secret !== undefined)
  if (client_id !== undefined && secrets.length === 1) return []
  return [
    `issuer ${JSON.stringify(name)}: introspection needs client_id, and client_secret or client_secret_file`,
  ]
}

function isIssuerUrl(value: string): boolean {
  try {
    return issuerUrl(value) === value
  } catch (error) {
    if (error instanceof Unfit) return false
    throw error
  }
}
