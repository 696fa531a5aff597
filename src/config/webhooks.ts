import Type, { type Static } from 'typebox'
import { eventTopics } from '../core/events.ts'
import { parseRate, rateForm } from '../core/rates.ts'
import type { WebhookDraft } from '../core/webhook-admin.ts'
import {
  webhookBounds as bounds,
  webhookDefaults as defaults,
  isReservedHeader,
  isWebhookSecret,
  type RetryPolicy,
  type WebhookEndpoint,
  type WebhookSecret,
  webhookSecretForm,
} from '../core/webhooks.ts'
import { createDocumentReader, type DocumentPath, type DocumentResult } from './document.ts'
import type { Environment } from './environment.ts'
import { mayFetch } from './issuer-settings.ts'
import { nearest } from './nearest.ts'
import { Unfit } from './parsers.ts'
import { readSecretFile, secretFile } from './secret-file.ts'

const secret = Type.Optional(
  Type.String({
    minLength: 1,
    maxLength: bounds.secretLength,
    description:
      'A secret: whsec_ and base64, or a text of at least 16 characters; a dollar sign and a name in braces take it from the environment, which is the only way here while GATEPOST_SECRET_KEY is set.',
  }),
)

const secretPath = Type.Optional(
  Type.String({ minLength: 1, description: 'A file with the secret; reread when it changes.' }),
)

const oldSecret = Type.Object(
  {
    secret,
    secret_file: secretPath,
    until: Type.String({ format: 'date-time', description: 'From then on nothing is signed by it.' }),
  },
  { additionalProperties: false, description: 'A secret that was replaced and still signs for a while.' },
)

const retryPolicy = Type.Object(
  {
    max_retries: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: bounds.maxRetries,
        description: `Attempts after the first. Default: ${defaults.maxRetries}.`,
      }),
    ),
    backoff_seconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: bounds.backoffSeconds,
        description: `Seconds before the second attempt, twice as many before each further one, 20 % more or less. Default: ${defaults.backoffSeconds}.`,
      }),
    ),
  },
  { additionalProperties: false, description: 'How often and when a delivery is tried again.' },
)

const labels = (description: string) =>
  Type.Optional(
    Type.Array(Type.String({ minLength: 1, maxLength: 128 }), {
      minItems: 1,
      maxItems: bounds.filterEntries,
      description,
    }),
  )

const filters = Type.Object(
  {
    routes: labels('Labels of routes. Default: all.'),
    services: labels('Names of upstream services. Default: all.'),
  },
  {
    additionalProperties: false,
    description: 'Only events that are about one of these; where both are given, one of each.',
  },
)

const webhook = Type.Object(
  {
    id: Type.String({
      pattern: '^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$',
      description: 'Its name, of letters, digits, _, . and -, a letter or digit first.',
    }),
    url: Type.String({
      minLength: 1,
      maxLength: bounds.urlLength,
      description:
        'Where deliveries go, by https; a dollar sign and a name in braces take a part of it from the environment.',
    }),
    secret,
    secret_file: secretPath,
    old_secrets: Type.Optional(
      Type.Array(oldSecret, {
        maxItems: bounds.secrets - 1,
        description: 'Secrets that the present one has replaced, the latest first. Default: none.',
      }),
    ),
    events: Type.Optional(
      Type.Array(Type.String({ minLength: 1, maxLength: 128 }), {
        minItems: 1,
        maxItems: bounds.events,
        description:
          'Types of events, such as auth.failed; circuit_breaker.* for all of a family, * for every event. Default: every event.',
      }),
    ),
    active: Type.Optional(Type.Boolean({ description: 'Whether anything is delivered. Default: true.' })),
    retry_policy: Type.Optional(retryPolicy),
    headers: Type.Optional(
      Type.Record(
        Type.String({ pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$" }),
        Type.String({ minLength: 1, maxLength: bounds.headerValueLength }),
        {
          additionalProperties: false,
          maxProperties: bounds.headers,
          description:
            'Sent with each delivery; a dollar sign and a name in braces take a part of a value from the environment. At most 32. Default: none.',
        },
      ),
    ),
    rate_limit: Type.Optional(
      Type.String({
        pattern: '^\\d{1,10}/\\d{0,9}(ms|s|m|h|d)$',
        description: 'The most attempts in so much time, such as 100/1m. Default: no limit.',
      }),
    ),
    filters: Type.Optional(filters),
    ordered: Type.Optional(
      Type.Boolean({
        description:
          'One delivery at a time, in the order of the events; one that fails holds back the others until it is delivered or given up. Default: false.',
      }),
    ),
    concurrency: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: bounds.concurrency,
        description: `Deliveries under way at the same time. Default: ${defaults.concurrency}; 1 where ordered.`,
      }),
    ),
    timeout_seconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: bounds.timeoutSeconds,
        description: `Seconds for a whole attempt, from the name to the answer's last byte. Default: ${defaults.timeoutSeconds}.`,
      }),
    ),
  },
  { additionalProperties: false, description: 'An endpoint that events are delivered to.' },
)

/** The JSON Schema of the webhooks file. */
export const webhooksSchema = Type.Object(
  {
    webhooks: Type.Array(webhook, {
      maxItems: bounds.endpoints,
      description: 'Endpoints, each with its own id.',
    }),
  },
  { additionalProperties: false, description: 'Where webhooks go.' },
)

/** An endpoint as it is written. */
export type WebhookDocument = Static<typeof webhook>

type SecretSource = Pick<WebhookDocument, 'secret' | 'secret_file'>

const readDocument = createDocumentReader<Static<typeof webhooksSchema>>(webhooksSchema)

/** What an endpoint is read against. */
export interface WebhookContext {
  env: Environment
  /** Plain http beyond loopback. */
  allowPlaintext: boolean
  /** GATEPOST_SECRET_KEY is set: no secret may stand in plain text. */
  isSecretKeySet: boolean
}

/** Reads a webhooks file. */
export type ReadWebhooks = (name: string, text: string) => DocumentResult<readonly WebhookEndpoint[]>

/** Makes a reader of webhooks files. Its problems quote no secret, no header's value, and a URL only as written. */
export function createWebhooksReader(context: WebhookContext): ReadWebhooks {
  return (name, text) => {
    const parsed = readDocument(name, text)
    if (parsed.kind === 'problems') return parsed
    const problems: string[] = []
    const { webhooks } = parsed.value
    const endpoints = webhooks.map((document, at) =>
      compileWebhook(document, context, (path, problem) =>
        problems.push(
          `${parsed.locate(['webhooks', at, ...path])}: webhook ${JSON.stringify(document.id)}: ${problem}`,
        ),
      ),
    )
    for (const [at, { id }] of webhooks.entries()) {
      if (webhooks.findIndex((other) => other.id === id) === at) continue
      problems.push(
        `${parsed.locate(['webhooks', at, 'id'])}: there are two webhooks called ${JSON.stringify(id)}`,
      )
    }
    return problems.length > 0 ? { kind: 'problems', problems } : { kind: 'document', value: endpoints }
  }
}

/**
 * Makes a reader of endpoints that come by the admin API: they may say what those of the file say, but nothing is taken
 * from the environment, nor from files.
 */
export function createDraftReader({ allowPlaintext }: Pick<WebhookContext, 'allowPlaintext'>) {
  const context = { env: {}, allowPlaintext, isSecretKeySet: false }
  return (draft: WebhookDraft & { id: string; secret: string }): DocumentResult<WebhookEndpoint> => {
    const written = [draft.url, ...Object.values(draft.headers ?? {})]
    if (written.some((text) => /\$\{\w+\}/.test(text))) {
      return { kind: 'problems', problems: ['url, headers: variables in braces are for the file alone'] }
    }
    const parsed = readDocument('', JSON.stringify({ webhooks: [documentOf(draft)] }))
    if (parsed.kind === 'problems') {
      return {
        kind: 'problems',
        problems: parsed.problems.map((problem) => problem.replace(placeInDraft, '')),
      }
    }
    const problems: string[] = []
    const [document] = parsed.value.webhooks as [WebhookDocument]
    const value = compileWebhook(document, context, (_path, problem) => problems.push(problem))
    return problems.length > 0 ? { kind: 'problems', problems } : { kind: 'document', value }
  }
}

/** What the reader of files says of where in a file something is. */
const placeInDraft = /^:\d+:\d+: (?:webhooks\.0[.:] ?)?/

function documentOf({
  retryPolicy,
  rateLimit,
  timeoutSeconds,
  ...same
}: WebhookDraft & { id: string; secret: string }) {
  return {
    ...same,
    ...(retryPolicy && {
      retry_policy: { max_retries: retryPolicy.maxRetries, backoff_seconds: retryPolicy.backoffSeconds },
    }),
    rate_limit: rateLimit,
    timeout_seconds: timeoutSeconds,
  }
}

type Complain = (path: DocumentPath, problem: string) => void

/** Makes an endpoint of what is written, defaults filled in. @param complain told of all that is wrong with it. */
function compileWebhook(
  document: WebhookDocument,
  context: WebhookContext,
  complain: Complain,
): WebhookEndpoint {
  const rateLimit = rateLimitOf(document, complain)
  return {
    id: document.id,
    url: urlOf(document, context, complain),
    secrets: secretsOf(document, context, complain),
    events: eventsOf(document, complain),
    active: document.active ?? true,
    retryPolicy: retryPolicyOf(document),
    headers: headersOf(document, context.env, complain),
    ...(rateLimit && { rateLimit }),
    filters: document.filters ?? {},
    ...paceOf(document, complain),
    timeoutMs: (document.timeout_seconds ?? defaults.timeoutSeconds) * 1_000,
  }
}

function retryPolicyOf({ retry_policy: written = {} }: WebhookDocument): RetryPolicy {
  const { max_retries: maxRetries, backoff_seconds: backoffSeconds } = written
  return {
    maxRetries: maxRetries ?? defaults.maxRetries,
    backoffMs: (backoffSeconds ?? defaults.backoffSeconds) * 1_000,
  }
}

function paceOf({ ordered = false, concurrency }: WebhookDocument, complain: Complain) {
  if (ordered && (concurrency ?? 1) > 1) {
    complain(['concurrency'], 'concurrency must be 1, or be left out, where deliveries are ordered')
  }
  return { ordered, concurrency: concurrency ?? (ordered ? 1 : defaults.concurrency) }
}

function urlOf(
  { url }: WebhookDocument,
  { env, allowPlaintext }: WebhookContext,
  complain: Complain,
): string {
  const filled = fill(url, env, (variable) => complain(['url'], `url: ${variable} is not set`))
  if (filled === undefined) return ''
  const problem = urlProblem(filled, allowPlaintext)
  if (problem) complain(['url'], `url: ${JSON.stringify(url)} ${problem}`)
  return filled
}

function urlProblem(text: string, allowPlaintext: boolean): string | undefined {
  const url = URL.parse(text)
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:') {
    return 'is no URL of the web; it must be one such as https://hooks.example.com/gatepost'
  }
  if (url.username !== '' || url.password !== '') return 'holds credentials; send them in a header'
  if (mayFetch(text, allowPlaintext)) return undefined
  return 'is plain http, which only loopback may use; use https, or set GATEPOST_ALLOW_PLAINTEXT=true'
}

const families = [...new Set(Object.keys(eventTopics).map((type) => `${type.slice(0, type.indexOf('.'))}.*`))]
const knownEvents = new Set(['*', ...Object.keys(eventTopics), ...families])

function eventsOf({ events = ['*'] }: WebhookDocument, complain: Complain): readonly string[] {
  for (const [at, event] of events.entries()) {
    if (knownEvents.has(event)) continue
    complain(
      ['events', at],
      `events: there is no ${JSON.stringify(event)}, did you mean ${nearest(event, [...knownEvents])}?`,
    )
  }
  return [...new Set(events)]
}

function rateLimitOf({ rate_limit: text }: WebhookDocument, complain: Complain) {
  if (text === undefined) return undefined
  const rate = parseRate(text)
  if (!rate)
    complain(['rate_limit'], `rate_limit: ${JSON.stringify(text)} does not do, it must be ${rateForm}`)
  return rate
}

// RFC 9110 §5.5, in ASCII: no control character but tab, no blank at either end.
const headerValue = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/

function headersOf(
  { headers = {} }: WebhookDocument,
  env: Environment,
  complain: Complain,
): Record<string, string> {
  const filled = Object.entries(headers).map(([name, text]): [string, string] => {
    const path = ['headers', name]
    if (isReservedHeader(name)) complain(path, `headers: ${name} is Gatepost's to set`)
    const value = fill(text, env, (variable) => complain(path, `headers: ${name}: ${variable} is not set`))
    if (value !== undefined && !headerValue.test(value)) {
      complain(path, `headers: ${name}: the value must be printable ASCII without a blank at either end`)
    }
    return [name.toLowerCase(), value ?? '']
  })
  const names = filled.map(([name]) => name)
  const repeated = names.find((name, at) => names.indexOf(name) !== at)
  if (repeated !== undefined) complain(['headers'], `headers: ${repeated} is there twice`)
  return Object.fromEntries(filled)
}

function secretsOf(
  document: WebhookDocument,
  context: WebhookContext,
  complain: Complain,
): readonly WebhookSecret[] {
  const current = secretOf(document, context, (problem) => complain([], problem))
  const old = (document.old_secrets ?? []).map((source, at) => ({
    value: secretOf(source, context, (problem) =>
      complain(['old_secrets', at], `old_secrets.${at}: ${problem}`),
    ),
    untilMs: Date.parse(source.until),
  }))
  return [{ value: current }, ...old]
}

function secretOf(
  { secret: written, secret_file: path }: SecretSource,
  { env, isSecretKeySet }: WebhookContext,
  complain: (problem: string) => void,
): () => string {
  if ((written === undefined) === (path === undefined)) {
    complain('it needs secret or secret_file, one of them (openssl rand -hex 32 makes a secret)')
    return () => ''
  }
  if (written !== undefined) return fixedSecret(written, env, isSecretKeySet, complain)
  const first = readSecretFile(path ?? '')
  if (first === undefined) complain(`secret_file: cannot read ${JSON.stringify(path)}, or it is empty`)
  else checkSecret('secret_file', first, complain)
  return secretFile(path ?? '', first ?? '', webhookSecret)
}

function fixedSecret(
  written: string,
  env: Environment,
  isSecretKeySet: boolean,
  complain: (problem: string) => void,
): () => string {
  const [, name] = wholeReference.exec(written) ?? []
  if (name === undefined && isSecretKeySet) {
    complain(
      'secret: it stands in plain text although GATEPOST_SECRET_KEY is set; use secret_file, or take it from the environment',
    )
  }
  const value = name === undefined ? written : env[name]
  if (value) checkSecret('secret', value, complain)
  else complain(`secret: ${name} is not set`)
  return () => value ?? ''
}

function checkSecret(member: string, value: string, complain: (problem: string) => void): void {
  if (!isWebhookSecret(value)) complain(`${member}: the value does not do, it must be ${webhookSecretForm}`)
}

/** The secret of an endpoint. */
function webhookSecret(value: string): string {
  if (!isWebhookSecret(value)) throw new Unfit(webhookSecretForm)
  return value
}

const wholeReference = /^\$\{(\w+)\}$/

/** Puts variables in place of their names. @returns undefined where one is not set, which `onMissing` is told. */
function fill(text: string, env: Environment, onMissing: (variable: string) => void): string | undefined {
  const missing = [...text.matchAll(/\$\{(\w+)\}/g)].filter(([, name = '']) => !env[name])
  for (const [, name = ''] of missing) onMissing(name)
  if (missing.length > 0) return undefined
  return text.replaceAll(/\$\{(\w+)\}/g, (_reference, name: string) => env[name] ?? '')
}
