/** A message for RabbitMQ; it is always persistent. */
export interface AmqpMessage {
  /** The property `message-id`; no two that are handed over together have the same. */
  id: string
  routingKey: string
  /** The property `type`. */
  type: string
  contentType: string
  /** The property `timestamp`: seconds since the epoch. */
  timestampSeconds: number
  headers: Readonly<Record<string, string>>
  body: string
}

/** An exchange, always durable and without arguments. */
export interface AmqpExchange {
  name: string
  type: 'topic' | 'direct' | 'fanout'
}

/** A message that RabbitMQ will not take, or that no queue would get. */
export interface AmqpRefusal {
  /** Where it stands among the messages that were handed over, from 0. */
  index: number
  /** `unroutable`, or why it cannot be sent at all. */
  reason: string
}

/** Publishes to one exchange. */
export interface AmqpPublisher {
  /**
   * Publishes messages in their order and resolves once RabbitMQ has answered for each. Those that were refused for
   * good are listed, the others are in every queue that is bound for them. Call it again only after it has settled.
   * @throws where nothing is certain: some may have been taken. The next call starts anew.
   */
  publish(messages: readonly AmqpMessage[], signal: AbortSignal): Promise<readonly AmqpRefusal[]>
  /** Connects apart from that and looks for the exchange; resolves with one line for a person. */
  probe(signal: AbortSignal): Promise<string>
  /** Ends the connection and whatever is under way; never throws. */
  close(): Promise<void>
}
