import type { LoggedEvent } from './sinks/broker.ts'

/** What the body of every event is. */
export const eventContentType = 'application/json'

/** The CloudEvents attribute `source` of every event: Gatepost itself. Ids are unique across all of its processes. */
export const eventSource = 'urn:gatepost'

/**
 * The CloudEvents 1.0 attributes of an event, each name behind the prefix of a binding: `ce_` for Kafka,
 * `cloudEvents:` for AMQP. `subject` is the client, where that is known. The data, as CloudEvents has it, is the whole
 * envelope, of `eventContentType`.
 */
export function cloudEventAttributes(event: LoggedEvent, prefix: string): Record<string, string> {
  return {
    [`${prefix}specversion`]: '1.0',
    [`${prefix}id`]: event.id,
    [`${prefix}type`]: event.type,
    [`${prefix}source`]: eventSource,
    [`${prefix}time`]: event.timestamp,
    ...(event.clientId !== undefined && { [`${prefix}subject`]: event.clientId }),
  }
}
