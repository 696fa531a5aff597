import type { WebhookEndpoint } from '../core/webhooks.ts'
import { matches } from './endpoint.ts'
import { bodyOf, type Told } from './message.ts'

/** An event as the log has it. */
export interface LoggedEvent {
  id: string
  type: string
  /** The whole envelope. */
  json: string
}

/** An event, whoever wants it, and what they are sent. */
export interface Expanded {
  event: Pick<LoggedEvent, 'id' | 'type'>
  /** Never empty. */
  endpoints: readonly WebhookEndpoint[]
  /** The same bytes for each of them and for every attempt. */
  body: Buffer
}

/** How events become deliveries. */
export interface Expand {
  /** Whether anybody may want an event of a type. */
  wants(type: string): boolean
  /** Says who wants an event; undefined where nobody does. */
  expand(event: LoggedEvent): Expanded | undefined
}

/**
 * Makes the expansion of events into deliveries, for endpoints as they are at the moment. An event is parsed only where
 * its type is wanted.
 */
export function createExpand(endpoints: readonly WebhookEndpoint[]): Expand {
  const byType = new Map<string, readonly WebhookEndpoint[]>()

  /** Those that want at least some events of a type. */
  function interested(type: string): readonly WebhookEndpoint[] {
    const known = byType.get(type)
    if (known) return known
    const found = endpoints.filter((endpoint) => matches({ ...endpoint, filters: {} }, { type, data: {} }))
    byType.set(type, found)
    return found
  }

  return {
    wants: (type) => interested(type).length > 0,

    expand({ id, type, json }) {
      const candidates = interested(type)
      if (candidates.length === 0) return undefined
      const told: Told = JSON.parse(json)
      const data = told.data as Readonly<Record<string, unknown>>
      const wanting = candidates.filter((endpoint) => matches(endpoint, { type, data }))
      return wanting.length === 0
        ? undefined
        : { event: { id, type }, endpoints: wanting, body: bodyOf(told) }
    },
  }
}
