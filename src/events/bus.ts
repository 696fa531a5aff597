import type { EventType, GatewayEvent, Happening, Publish } from '../core/events.ts'

/** Takes events off the bus. It must return at once and may not throw; what it cannot hold it counts as dropped. */
export interface Sink {
  name: string
  write(events: readonly GatewayEvent[]): void
}

/** Told of each event that is lost, and where; for metrics. */
export type OnDrop = (sink: string, type: EventType) => void

/** What the bus is made of. */
export interface BusParts {
  sinks: readonly Sink[]
  /** The most events between the request path and the sinks; further ones are dropped and counted. */
  capacity: number
  /** A unique id. */
  newId: () => string
  /** Runs `task` soon, after what is being done now. */
  defer: (task: () => void) => void
  onPublished: (type: EventType) => void
  onDrop: OnDrop
}

/** Hands events from the request path to the sinks. */
export interface Bus {
  publish: Publish
  /** Events waiting. */
  readonly depth: number
  /** Hands over whatever waits; for the end. */
  flush(): void
}

/** The name under which the bus itself counts what it drops. */
const busName = 'bus'

/**
 * Makes the bus. Publishing appends to a bounded buffer and nothing more: envelopes are made, and sinks called, after
 * the verdict is on its way. Without sinks nothing is kept.
 */
export function createBus({ sinks, capacity, newId, defer, onPublished, onDrop }: BusParts): Bus {
  let waiting: Happening[] = []

  function flush(): void {
    const batch = waiting
    waiting = []
    if (batch.length === 0) return
    const events = batch.map((happening) => envelope(happening, newId()))
    for (const sink of sinks) sink.write(events)
  }

  return {
    get depth() {
      return waiting.length
    },

    publish(happening) {
      onPublished(happening.type)
      if (sinks.length === 0) return
      if (waiting.length >= capacity) {
        onDrop(busName, happening.type)
        return
      }
      waiting.push(happening)
      if (waiting.length === 1) defer(flush)
    },

    flush,
  }
}

function envelope({ type, atMs, requestId, data }: Happening, id: string): GatewayEvent {
  return {
    id,
    event_type: type,
    timestamp: new Date(atMs).toISOString(),
    ...(requestId && { request_id: requestId }),
    data,
  }
}
