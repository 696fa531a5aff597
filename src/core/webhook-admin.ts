import type { WebhookFilters } from './webhooks.ts'

/**
 * The endpoints and deliveries of this replica, as the admin API and the command line manage them. Everything that goes
 * in and out is plain data: whoever delivers does so in a thread of its own. No call waits longer than ten seconds,
 * `test` than forty-five. Nothing rejects: what goes wrong is a {@link WebhookRefusal}.
 */
export interface WebhookAdmin {
  /** All endpoints by id: those of the file, and those of this replica. */
  list(): Promise<WebhookAnswer<WebhookView[]>>
  get(id: string): Promise<WebhookAnswer<WebhookView>>
  /** Adds an endpoint to this replica. The answer holds its secret, for the only time. */
  create(draft: WebhookDraft): Promise<WebhookAnswer<NewWebhook>>
  /** Changes what the change names, and nothing else. */
  update(id: string, change: WebhookChange): Promise<WebhookAnswer<WebhookView>>
  /** Removes an endpoint with all of its deliveries. */
  remove(id: string): Promise<WebhookAnswer<undefined>>
  /** Puts a new secret in front; the old one signs as well for a while. The answer holds the new one, for the only time. */
  rotate(id: string, rotation: Rotation): Promise<WebhookAnswer<NewWebhook>>
  /** Keeps deliveries back, and queues what comes. It holds for endpoints of the file as well, and outlives a restart. */
  pause(id: string): Promise<WebhookAnswer<WebhookView>>
  /** Ends a pause. */
  resume(id: string): Promise<WebhookAnswer<WebhookView>>
  /** Delivers again to an endpoint that was disabled because it failed for long, or wanted no more. */
  enable(id: string): Promise<WebhookAnswer<WebhookView>>
  /** Delivers one event `webhook.test` now, whatever else holds the endpoint back, once; answers when that has ended. */
  test(id: string): Promise<WebhookAnswer<DeliveryDetail>>
  /** Lists deliveries, the newest first. */
  deliveries(query: DeliveryQuery): Promise<WebhookAnswer<DeliveryPage>>
  delivery(id: string): Promise<WebhookAnswer<DeliveryDetail>>
  /** Delivers once more what has ended, whichever way: a new delivery with the same `webhook-id` and body. */
  replay(id: string): Promise<WebhookAnswer<DeliveryView>>
  /** The same for all that the filter fits, the oldest first, at most {@link webhookAdminBounds.replay} at once. */
  replayAll(filter: ReplayFilter): Promise<WebhookAnswer<Replayed>>
}

/** What came of a call. */
export type WebhookAnswer<T> = { kind: 'done'; value: T } | WebhookRefusal

/** Why nothing was done. */
export type WebhookRefusal =
  /** There is no such endpoint, or no such delivery. */
  | { kind: 'not_found' }
  /** What is there stands against it; `why` is a sentence. Such as: the endpoint is declared in the file. */
  | { kind: 'conflict'; why: string }
  /** What was asked for does not do; each is a sentence that names the member. */
  | { kind: 'invalid'; problems: readonly string[] }
  /** Nobody can say at the moment: no data folder, the thread is being started again, or the disk is full. */
  | { kind: 'unavailable'; why: string }

/** Bounds of calls. */
export const webhookAdminBounds = {
  /** Deliveries on a page. */
  page: 200,
  /** On a page that does not say. */
  defaultPage: 50,
  /** Deliveries replayed by one call. */
  replay: 10_000,
  /** The longest that an old secret signs on, in seconds. */
  graceSeconds: 7 * 86_400,
  /** How long it does where nothing is said. */
  defaultGraceSeconds: 86_400,
} as const

/** Where an endpoint is declared: in GATEPOST_WEBHOOKS_FILE, which replicas share, or in this replica's data folder. */
export type WebhookSource = 'file' | 'replica'

/** What may be said of an endpoint beside its id and its secret; absent for the default, as in the file. */
export interface WebhookOptions {
  /** As it is: names in braces are not replaced. */
  url: string
  events?: readonly string[]
  active?: boolean
  retryPolicy?: { maxRetries?: number; backoffSeconds?: number }
  headers?: Readonly<Record<string, string>>
  /** Such as `100/1m`. */
  rateLimit?: string
  filters?: WebhookFilters
  ordered?: boolean
  concurrency?: number
  timeoutSeconds?: number
}

/** A new endpoint. */
export interface WebhookDraft extends WebhookOptions {
  /** Default: `wh_` and 16 random hex digits. */
  id?: string
  /** Default: a new one of 32 random bytes. */
  secret?: string
}

/** A change of an endpoint. What is absent stays; null brings the default back. */
export type WebhookChange = {
  readonly [Name in keyof WebhookOptions]?: WebhookOptions[Name] | (Name extends 'url' ? never : null)
}

/** A change of an endpoint's secret. */
export interface Rotation {
  /** Default: a new one of 32 random bytes. */
  secret?: string
  /** How long the old one signs on, in seconds. Default: 24 hours. At most 7 days; 0 for not at all. */
  graceSeconds?: number
}

/** An endpoint, and the secret that was just made or given. */
export interface NewWebhook {
  webhook: WebhookView
  secret: string
}

/** What becomes of deliveries to an endpoint. */
export type WebhookCondition =
  | 'delivering'
  /** `active` is false: nothing is queued. */
  | 'inactive'
  /** What comes is queued. */
  | 'paused'
  /** It failed for long, or answered 410: nothing is queued. */
  | 'disabled'
  /** Its secret cannot be opened: what comes is queued. */
  | 'unusable'

/** An endpoint as it is shown. It holds no secret, and no header's value. */
export interface WebhookView {
  id: string
  source: WebhookSource
  /** The values of its query, which may be secret, are shown as `***`. */
  url: string
  events: readonly string[]
  active: boolean
  retryPolicy: { maxRetries: number; backoffSeconds: number }
  headerNames: readonly string[]
  rateLimit?: string
  filters: WebhookFilters
  ordered: boolean
  concurrency: number
  timeoutSeconds: number
  /** Those in force, the current one first; `untilMs` where one is on its way out. */
  secrets: readonly { untilMs?: number }[]
  condition: WebhookCondition
  /** Why it is disabled or unusable, as a sentence. */
  why?: string
  /** When it was disabled; milliseconds since the epoch. */
  disabledAtMs?: number
  /** Deliveries that wait or are under way. */
  pending: number
  /** When the oldest of them was queued. */
  oldestPendingAtMs?: number
  /** Attempts that failed since the last that did not. */
  failuresInRow: number
  /** When the first of them was made. */
  failingSinceMs?: number
  circuit: 'closed' | 'open' | 'half_open'
  /** When it is tried again, where the circuit is open. */
  circuitUntilMs?: number
}

/** How a delivery stands. */
export type DeliveryStatus = (typeof deliveryStatuses)[number]

/** Every status. Failed and dropped ones are kept as dead letters, to be replayed. */
export const deliveryStatuses = [
  /** Waits, or is under way. */
  'pending',
  'delivered',
  /** Refused for good, or failed at its last attempt. */
  'failed',
  /** Given up without having failed: there was no room for it, or its endpoint went. */
  'dropped',
] as const

/** A delivery of one event to one endpoint. */
export interface DeliveryView {
  id: string
  webhookId: string
  /** The `webhook-id` that the receiver sees: that of the event. */
  eventId: string
  eventType: string
  status: DeliveryStatus
  /** Why it failed or was dropped, as an identifier: that of its last attempt, or `backlog`, `removed`, `disabled`. */
  reason?: string
  /** Attempts so far. */
  attempts: number
  createdAtMs: number
  /** When it is tried next, unless something holds the endpoint back; while pending. */
  nextAttemptAtMs?: number
  finishedAtMs?: number
  /** The delivery that this one repeats. */
  replayOf?: string
  /** The latest delivery that repeats this one. */
  replayedBy?: string
  /** It was made by `test`. */
  test: boolean
}

/** A delivery with what is known of it. */
export interface DeliveryDetail extends DeliveryView {
  /** What was sent, as text. */
  body: string
  /** The oldest first. */
  attemptLog: readonly AttemptView[]
}

/** One attempt. */
export interface AttemptView {
  /** From 1 on. */
  number: number
  atMs: number
  durationMs: number
  result: 'delivered' | 'retry' | 'failed' | 'gone'
  /** Absent where there was no answer. */
  statusCode?: number
  /** `status`, `timeout`, `connection`, `tls`, `name` or `address`; absent where it was delivered. */
  reason?: string
  /** What went wrong, in a few words, where nobody answered. */
  error?: string
  /** The first KiB of the answer; the endpoint's secrets and header values are taken out of it. */
  answer: string
}

/** Which deliveries are meant; what is absent means all. Times are those at which deliveries were queued. */
export interface DeliveryFilter {
  status?: DeliveryStatus
  webhookId?: string
  eventType?: string
  sinceMs?: number
  untilMs?: number
}

/** Which deliveries are listed. */
export interface DeliveryQuery extends DeliveryFilter {
  /** Default: 50; at most 200. */
  limit?: number
  /** The `next` of the page before. */
  cursor?: string
}

/** Some deliveries, the newest first. */
export interface DeliveryPage {
  deliveries: readonly DeliveryView[]
  /** Where the next page begins; absent on the last. Opaque. */
  next?: string
}

/**
 * Which deliveries are replayed. Default of `status`: both `failed` and `dropped`. Pending ones never are, nor those that
 * have been replayed already, nor those made by `test`.
 */
export type ReplayFilter = DeliveryFilter

/** How many were replayed. */
export interface Replayed {
  replayed: number
  /** Whether the filter fits further ones: ask again. */
  more: boolean
}
