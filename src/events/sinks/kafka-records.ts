import type { Message, TopicMessages } from 'kafkajs'
import { eventTopics } from '../../core/events.ts'
import { cloudEventAttributes, eventContentType } from '../cloudevents.ts'
import type { LoggedEvent, Refusal } from './broker.ts'

/** An event on its way to a topic. */
export interface KafkaRecord {
  /** Where it stands among the events that were handed over. */
  index: number
  topic: string
  message: Message
  /** How much room it takes, roughly: its key, its value and its headers. */
  bytes: number
}

/** Every topic that events go to. */
export const kafkaTopics: readonly string[] = [...new Set(Object.values(eventTopics))]

/** Turns events into records. A type that has no topic, such as one that a newer version logged, is refused. */
export function recordsOf(events: readonly LoggedEvent[]): { records: KafkaRecord[]; refusals: Refusal[] } {
  const records: KafkaRecord[] = []
  const refusals: Refusal[] = []
  for (const [index, event] of events.entries()) {
    const topic: string | undefined = eventTopics[event.type]
    if (topic === undefined)
      refusals.push({ index, reason: `no topic is known for events of type ${event.type}` })
    else records.push(recordOf(event, index, topic))
  }
  return { records, refusals }
}

function recordOf(event: LoggedEvent, index: number, topic: string): KafkaRecord {
  // Always a key, down to the event's own id: without one kafkajs would choose a partition by chance, another one for
  // a retry, and the broker could not tell the retry for what it is.
  const key = event.clientId || event.requestId || event.id
  const value = Buffer.from(event.json)
  const headers = { ...cloudEventAttributes(event, 'ce_'), 'content-type': eventContentType }
  // No timestamp: it would be the event's, and what waited out a long outage would be past the topic's retention.
  return {
    index,
    topic,
    message: { key, value, headers },
    bytes: value.length + key.length + headerBytes(headers),
  }
}

function headerBytes(headers: Readonly<Record<string, string>>): number {
  return Object.entries(headers).reduce((sum, [name, value]) => sum + name.length + value.length + 2, 0)
}

/** Groups records by their topics; within each their order stays. */
export function byTopic(records: readonly KafkaRecord[]): TopicMessages[] {
  const topics = Map.groupBy(records, ({ topic }) => topic)
  return [...topics].map(([topic, those]) => ({ topic, messages: those.map(({ message }) => message) }))
}

/** Cuts records into runs of at most so many records and bytes; a larger one is a run of its own. */
export function* runsOf(
  records: readonly KafkaRecord[],
  { maxRecords, maxBytes }: { maxRecords: number; maxBytes: number },
): Generator<KafkaRecord[]> {
  let run: KafkaRecord[] = []
  let bytes = 0
  for (const record of records) {
    if (run.length > 0 && (run.length === maxRecords || bytes + record.bytes > maxBytes)) {
      yield run
      run = []
      bytes = 0
    }
    run.push(record)
    bytes += record.bytes
  }
  if (run.length > 0) yield run
}
