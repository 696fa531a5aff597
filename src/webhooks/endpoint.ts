import type { WebhookEndpoint } from '../core/webhooks.ts'

/** As much of an event as decides who wants it. */
export interface Subject {
  type: string
  /** The event's data. */
  data: Readonly<Record<string, unknown>>
}

/**
 * Whether an endpoint wants an event. A filter asks for one of its values: an event that tells of no route passes no
 * filter by route, one that tells of no service none by service.
 */
export function matches(
  { active, events, filters }: Pick<WebhookEndpoint, 'active' | 'events' | 'filters'>,
  { type, data }: Subject,
): boolean {
  if (!active || !events.some((wanted) => covers(wanted, type))) return false
  // A completed request calls its service upstream_service.
  const service = data['service'] ?? data['upstream_service']
  return passes(filters.routes, data['route']) && passes(filters.services, service)
}

function covers(wanted: string, type: string): boolean {
  if (wanted === '*' || wanted === type) return true
  return wanted.endsWith('.*') && type.startsWith(wanted.slice(0, -1))
}

function passes(list: readonly string[] | undefined, value: unknown): boolean {
  return list === undefined || (typeof value === 'string' && list.includes(value))
}
