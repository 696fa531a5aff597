import Type, { type Static, type TSchema } from 'typebox'
import type { WebhookChange, WebhookDraft, WebhookOptions } from '../core/webhook-admin.ts'
import { webhookBounds as bounds, webhookSecretForm } from '../core/webhooks.ts'
import { webhooksSchema } from './webhooks.ts'

// What the file says of an endpoint, the admin API says in the same words; but nothing comes from the environment or
// from files of the machine there.
const { events, active, retry_policy, rate_limit, filters, ordered, concurrency, timeout_seconds, ...file } =
  webhooksSchema.properties.webhooks.items.properties

const url = Type.String({ ...file.url, description: 'Where deliveries go, by https.' })

const headers = Type.Unsafe<Record<string, string>>({
  ...file.headers,
  description: 'Sent with each delivery. At most 32. Default: none.',
})

const settings = { events, active, retry_policy, rate_limit, filters, ordered, concurrency, timeout_seconds }

const draftSchema = Type.Object(
  {
    id: Type.Optional(
      Type.String({
        ...file.id,
        description:
          'Its name, of letters, digits, _, . and -, a letter or digit first. Default: a random one.',
      }),
    ),
    url,
    secret: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: bounds.secretLength,
        description: `By which deliveries are signed: ${webhookSecretForm}. Default: a new one.`,
      }),
    ),
    ...settings,
    headers: Type.Optional(headers),
  },
  { additionalProperties: false, description: 'A new endpoint.' },
)

const changeSchema = Type.Object(
  {
    url: Type.Optional(url),
    events: orNull(events),
    active: orNull(active),
    retry_policy: orNull(retry_policy),
    headers: orNull(headers),
    rate_limit: orNull(rate_limit),
    filters: orNull(filters),
    ordered: orNull(ordered),
    concurrency: orNull(concurrency),
    timeout_seconds: orNull(timeout_seconds),
  },
  {
    additionalProperties: false,
    minProperties: 1,
    description: 'What changes; what is absent stays, null brings the default back.',
  },
)

function orNull<T extends TSchema>(schema: T) {
  const { type } = schema as { type?: string }
  return Type.Optional(Type.Unsafe<Static<T> | null>({ ...schema, type: [type, 'null'] }))
}

/** How requests say what the webhooks file says: the schemas of their bodies, and what is in one that fits. */
export const webhookBodies = {
  draftSchema,
  changeSchema,
  draft(body: unknown): WebhookDraft {
    const { id, secret, ...rest } = body as Static<typeof draftSchema>
    const options = optionsOf(rest) as WebhookOptions
    return { ...(id !== undefined && { id }), ...(secret !== undefined && { secret }), ...options }
  },
  change(body: unknown): WebhookChange {
    return optionsOf(body as Static<typeof changeSchema>)
  },
}

function optionsOf(body: Static<typeof changeSchema>): WebhookChange {
  const { retry_policy: retry, rate_limit: rateLimit, timeout_seconds: timeoutSeconds, ...same } = body
  return {
    ...same,
    ...(retry !== undefined && { retryPolicy: retry && retryPolicyOf(retry) }),
    ...(rateLimit !== undefined && { rateLimit }),
    ...(timeoutSeconds !== undefined && { timeoutSeconds }),
  }
}

function retryPolicyOf({ max_retries, backoff_seconds }: { max_retries?: number; backoff_seconds?: number }) {
  return {
    ...(max_retries !== undefined && { maxRetries: max_retries }),
    ...(backoff_seconds !== undefined && { backoffSeconds: backoff_seconds }),
  }
}
