/** How long Gatepost remembers that an opaque token was good, and so how long a revoked one may pass. */
export const introspectionCacheTtl = { text: '1s', ms: 1_000 }

/** What the demo's policy says of the provider whose tokens only it understands. */
export interface PartnerSettings {
  issuer: string
  clientId: string
  /** The path of the file with the client's secret. */
  secretFile: string
}

/** The states that the tour takes the policy file through. */
export type PolicyState = 'first' | 'bad' | 'good' | 'enforced'

/** What each state says of the route `beta`. */
const beta: Readonly<Record<PolicyState, string>> = {
  first: 'auth: required',
  bad: 'auth: everybody\n    rate_limit: 5/1m',
  good: 'auth: none',
  enforced: 'auth: none',
}

/** The demo's policy file. Envoy's routes stay the stronger: those of envoy/*.yaml ask what they say there. */
export function policyText({ issuer, clientId, secretFile }: PartnerSettings, state: PolicyState): string {
  return `# The demo's policy. Gatepost rereads it within a second after it changes. A bad one is refused with its
# problems, and the old one stays.
issuers:
  - name: partner
    issuer: ${issuer}
    audience: '*'               # tokens of users who signed in name none here
    validation: introspection   # they are opaque, and may be revoked
    client_id: ${clientId}
    client_secret_file: ${secretFile}
    userinfo: true
routes:
  - name: pace
    match: {path: /api/pace}
    rate_limits: [{name: pace, limit: 2/6s}]
  - name: reports
    match: {path: /api/reports, methods: [GET]}
    auth: {scopes: ['read:orders']}
    rate_limits: [{name: exports, limit: 1/1m}, {name: reports, limit: 5/1m}]
  - name: search
    match: {path: /api/search}
    rate_limits: [{name: search, limit: 1/1m, plan: {claim: plan, limits: {gold: 5/1m}}}]
  - name: widgets
    match: {path: /api/widgets, methods: [GET, POST]}
    allow_preflight: true
  - name: flaky
    match: {path: /api/flaky}
    service: flaky-service
    auth: none
    circuit: {failures: 3, open: 1s, probes: 2, probe_interval: 100ms}
  - name: next
    match: {path: /api/next}
    rate_limits: [{name: next, limit: 1/1m}]
    shadow: ${state === 'enforced' ? '[]' : '[auth, rate_limit]   # what would be refused is only reported'}
  - name: beta
    match: {path: /api/beta}
    ${beta[state]}
`
}
