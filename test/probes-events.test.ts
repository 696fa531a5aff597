import { expect, test } from '@jest/globals'
import { describeSinks, probesOfBrokers } from '../src/probes-events.ts'
import { freePort } from './support/ports.ts'

test('no broker is tried where none is configured', () => {
  expect(probesOfBrokers({})).toEqual([])
})

test('a broker where nobody listens is unreachable, and its address is named', async () => {
  const [kafkaPort, amqpPort] = [await freePort(), await freePort()]
  const probes = probesOfBrokers({
    kafka: { brokers: [`127.0.0.1:${kafkaPort}`], tls: false, createTopics: false, allowPlaintext: false },
    amqp: { first: `amqp://user:secret@127.0.0.1:${amqpPort}`, allowPlaintext: false },
  })

  const found = await Promise.all(probes.map(({ run }) => run()))

  expect(probes.map(({ subject }) => subject)).toEqual(['kafka', 'rabbitmq'])
  expect(found.map(({ outcome }) => outcome)).toEqual(['unreachable', 'unreachable'])
  expect(found[0]?.detail).toContain(`127.0.0.1:${kafkaPort}`)
  expect(found[1]?.detail).toContain(`127.0.0.1:${amqpPort}`)
  expect(found[1]?.detail).not.toContain('secret')
})

test('how the sinks of a running Gatepost stand is a line for each', () => {
  const lines = describeSinks({
    kafka: {
      queued: 3,
      oldest_age_seconds: 61.4,
      failing: true,
      sent: 5,
      dropped: { a: 1, b: 2 },
      set_aside: {},
    },
    rabbitmq: { queued: 0, sent: 8, dropped: {}, set_aside: { a: 4 } },
  })

  expect(lines).toEqual([
    'sink kafka: failing, 5 sent, 3 queued, the oldest for 61 s, 3 dropped, 0 set aside',
    'sink rabbitmq: 8 sent, none queued, 0 dropped, 4 set aside',
  ])
})
