import type { Rate } from './rates.ts'

/** A secret of an endpoint. */
export interface WebhookSecret {
  /** Gives it as configured, prefix included. */
  value: () => string
  /** Milliseconds since the epoch from which on nothing is signed by it; absent for the current secret. */
  untilMs?: number
}

/** How often and when a delivery is tried again. */
export interface RetryPolicy {
  /** Attempts after the first. */
  maxRetries: number
  /** Before the first of them; doubled for each further one. */
  backoffMs: number
}

/** Events that an endpoint wants by whom they are about. An absent list lets every event through. */
export interface WebhookFilters {
  routes?: readonly string[]
  services?: readonly string[]
}

/** Where webhooks go, and how. */
export interface WebhookEndpoint {
  id: string
  url: string
  /** The current one first, then those that it replaced and that still sign for a while. Never empty. */
  secrets: readonly WebhookSecret[]
  /** Exact types, `circuit_breaker.*` for all of a family, `*` for every event. */
  events: readonly string[]
  /** Nothing is delivered to one that is not. */
  active: boolean
  retryPolicy: RetryPolicy
  /** Sent with each delivery; may hold credentials. */
  headers: Readonly<Record<string, string>>
  /** The most attempts in so much time; absent for no limit. */
  rateLimit?: Rate
  filters: WebhookFilters
  /** One delivery at a time, in the order of the events; one that fails holds the others back until it is delivered or given up. */
  ordered: boolean
  /** Deliveries under way at the same time; 1 where `ordered`. */
  concurrency: number
  /** For a whole attempt: name, connection, request and answer. */
  timeoutMs: number
}

/** What holds where an endpoint does not say otherwise. */
export const webhookDefaults = {
  maxRetries: 3,
  backoffSeconds: 60,
  concurrency: 8,
  timeoutSeconds: 10,
} as const

/** Bounds of what an endpoint may say, and of how many there may be. */
export const webhookBounds = {
  endpoints: 1_000,
  urlLength: 2_048,
  secretLength: 1_024,
  /** In force at the same time, the current one included. */
  secrets: 5,
  events: 64,
  headers: 32,
  headerValueLength: 4_096,
  filterEntries: 256,
  maxRetries: 20,
  backoffSeconds: 3_600,
  concurrency: 64,
  timeoutSeconds: 30,
} as const

/** The prefix of a secret whose key is the rest of it, decoded from base64 (Standard Webhooks). */
export const secretPrefix = 'whsec_'

const leastKeyBytes = 16
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** What a secret must look like, to complete the sentence "it must be …". */
export const webhookSecretForm = `${secretPrefix} and base64 of at least ${leastKeyBytes} bytes, or at least ${leastKeyBytes} characters without blanks`

/** Whether a text will do as an endpoint's secret: {@link webhookSecretForm}, at most 1,024 characters. */
export function isWebhookSecret(text: string): boolean {
  if (text.length > webhookBounds.secretLength || !/^[\x21-\x7e]+$/.test(text)) return false
  if (!text.startsWith(secretPrefix)) return text.length >= leastKeyBytes
  const encoded = text.slice(secretPrefix.length)
  return base64.test(encoded) && Buffer.from(encoded, 'base64').length >= leastKeyBytes
}

const ownHeaders = [
  'content-type',
  'x-webhook-signature',
  'webhook-id',
  'webhook-timestamp',
  'webhook-signature',
]

// RFC 9110 §7.6.1 and what frames a message: they belong to the connection, not to who configures an endpoint.
const connectionHeaders = [
  'accept-encoding',
  'connection',
  'content-encoding',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

const reserved = new Set([...ownHeaders, ...connectionHeaders])

/** Whether a header is Gatepost's to set, so that no endpoint may name it. */
export function isReservedHeader(name: string): boolean {
  return reserved.has(name.toLowerCase())
}
