import type { AmqpExchange, AmqpMessage, AmqpPublisher } from '../../core/amqp.ts'
import { cloudEventAttributes, eventContentType } from '../cloudevents.ts'
import type { Broker, LoggedEvent } from './broker.ts'

/** The exchange that events are published to; bind queues to it by event type. */
export const eventsExchange: AmqpExchange = { name: 'gateway.events', type: 'topic' }

/**
 * Delivers events to RabbitMQ: the envelope as body, the event's type as routing key, CloudEvents headers. An event
 * that no queue is bound for is refused as `unroutable`, one that is too large for the broker as well.
 * @param openPublisher makes the publisher to an exchange; it is this broker's own from then on.
 */
export function createRabbitBroker(openPublisher: (exchange: AmqpExchange) => AmqpPublisher): Broker {
  const publisher = openPublisher(eventsExchange)
  return {
    name: 'rabbitmq',
    deliver: (events, signal) => publisher.publish(events.map(messageOf), signal),
    probe: (signal) => publisher.probe(signal),
    close: () => publisher.close(),
  }
}

function messageOf(event: LoggedEvent): AmqpMessage {
  return {
    id: event.id,
    routingKey: event.type,
    type: event.type,
    contentType: eventContentType,
    timestampSeconds: Math.floor(Date.parse(event.timestamp) / 1_000),
    headers: cloudEventAttributes(event, 'cloudEvents:'),
    body: event.json,
  }
}
