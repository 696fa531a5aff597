import { createBacklog } from '../core/backlog.ts'
import type { EventType, GatewayEvent, Happening, Publish } from '../core/events.ts'
import type { Choose } from './choice.ts'
import type { Redact } from './privacy.ts'

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
  /** Whether an event is told at all; asked before it takes any room. Default: each is. */
  choose?: Choose
  /** Gives, for each batch, what takes personal data out of events. Default: nothing is taken out. */
  redactor?: () => Redact
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

/** Events that are handed over at once, some half a millisecond's work. */
const handedOver = 20

/**
 * Makes the bus. Publishing appends to a bounded buffer and nothing more: envelopes are made, and sinks called, after
 * the verdict is on its way, for 20 events at a time, or a quarter of those that wait. Without sinks nothing is kept.
 */
export function createBus(parts: BusParts): Bus {
  const { sinks, capacity, newId, defer, onPublished, onDrop, choose = always, redactor = unredacted } = parts
  const waiting = createBacklog<Happening>({ atOnce: handedOver, defer, work: handOver })

  function handOver(batch: readonly Happening[]): void {
    const redact = redactor()
    const events = batch.map((happening) => envelope(happening, redact, newId()))
    for (const sink of sinks) sink.write(events)
  }

  return {
    get depth() {
      return waiting.length
    },

    publish(happening) {
      onPublished(happening.type)
      if (sinks.length === 0 || !choose(happening)) return
      if (waiting.length >= capacity) {
        onDrop(busName, happening.type)
        return
      }
      waiting.push(happening)
    },

    flush: waiting.flush,
  }
}

function always(): boolean {
  return true
}

function unredacted(): Redact {
  return (data) => data
}

function envelope({ type, atMs, requestId, data }: Happening, redact: Redact, id: string): GatewayEvent {
  return {
    id,
    event_type: type,
    timestamp: new Date(atMs).toISOString(),
    ...(requestId && { request_id: requestId }),
    data: redact(data),
  }
}
