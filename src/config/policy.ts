import Type, { type Static } from 'typebox'
import { createDocumentReader } from './document.ts'
import { issuerUrl, Unfit } from './parsers.ts'

const url = (description: string) => Type.String({ pattern: '^https?://', maxLength: 2_048, description })

const algorithm = Type.Enum(
  ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'],
  { description: 'A signature algorithm; never none, never HMAC.' },
)

const issuerSchema = Type.Object(
  {
    name: Type.String({
      pattern: '^[a-z0-9][a-z0-9-]{0,62}$',
      description: 'Short name, for metrics and logs.',
    }),
    issuer: url('The issuer exactly as its tokens name it in iss.'),
    audience: Type.Union(
      [Type.String({ minLength: 1 }), Type.Array(Type.String({ minLength: 1 }), { minItems: 1 })],
      {
        description: 'Audiences of which a token must name one; * for any.',
      },
    ),
    algorithms: Type.Optional(
      Type.Array(algorithm, { minItems: 1, description: 'Which it may sign with. Default: all of them.' }),
    ),
    jwks_uri: Type.Optional(url('Where its keys are, if it has no discovery document.')),
    validation: Type.Optional(
      Type.Enum(['jwt', 'introspection'], { description: 'By its keys (default), or by asking it.' }),
    ),
    introspection_endpoint: Type.Optional(
      url('Where it is asked, if not where its discovery document says.'),
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
      Type.Boolean({ description: 'Whether its userinfo endpoint is asked about users.' }),
    ),
    userinfo_endpoint: Type.Optional(url('Where that is, if not where its discovery document says.')),
  },
  { additionalProperties: false },
)

/** The JSON Schema of the policy file. */
export const policySchema = Type.Object(
  {
    issuers: Type.Optional(
      Type.Array(issuerSchema, { description: 'Issuers beside those of the environment.' }),
    ),
  },
  { additionalProperties: false },
)

/** The policy file as written. */
export type PolicyDocument = Static<typeof policySchema>

/** An issuer as the policy file describes it. */
export type PolicyIssuer = NonNullable<PolicyDocument['issuers']>[number]

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
