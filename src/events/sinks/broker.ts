import type { EventType } from '../../core/events.ts'

/** An event as the spool's log keeps it. */
export interface LoggedEvent {
  /** The envelope's own id; consumers tell duplicates by it. */
  id: string
  type: EventType
  /** RFC 3339, UTC. */
  timestamp: string
  requestId: string | undefined
  /** Who called, where that is known: orders events of one client. */
  clientId: string | undefined
  /** The whole envelope as JSON: exactly the bytes that are delivered, at most 16 KiB. */
  json: string
}

/** An event that a broker will never take, such as one too large or one that no queue is bound for. */
export interface Refusal {
  /** Where it stands among the events that were handed over, from 0. */
  index: number
  /** Why, for the log and the table of events set aside. */
  reason: string
}

/** A broker, as the reader of the log sees it. */
export interface Broker {
  /** `kafka` or `rabbitmq`: names the cursor, metrics and logs. */
  readonly name: string
  /**
   * Delivers events in their order and resolves once the broker has answered for each of them; what it refused for
   * good is listed, everything else is safely there. It is never called again before it has settled.
   * @throws where nothing is certain: a connection, a timeout, a missing right. The reader hands the same events over
   *   again later.
   */
  deliver(events: readonly LoggedEvent[], signal: AbortSignal): Promise<readonly Refusal[]>
  /** Asks whether the broker can be reached and used, for `gatepost check`; resolves with one line for a person. */
  probe(signal: AbortSignal): Promise<string>
  /** Ends connections within a second or two; never throws. */
  close(): Promise<void>
}
