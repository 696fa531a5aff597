import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'
import { expect, test } from '@jest/globals'
import { createThreadLogger } from '../../../src/events/spool/thread.ts'

test('a line goes to the main thread as it is; one that cannot be copied as text', () => {
  const { port1, port2 } = new MessageChannel()
  const logger = createThreadLogger(port1)

  logger.warn({ sink: 'kafka' }, 'one')
  logger.error({ sink: 'kafka', work: () => 'not to be copied' }, 'two')
  const told = [receiveMessageOnPort(port2), receiveMessageOnPort(port2)].map((got) => got?.message)
  port1.close()

  expect(told).toEqual([
    { kind: 'line', level: 'warn', fields: { sink: 'kafka' }, message: 'one' },
    {
      kind: 'line',
      level: 'error',
      fields: { said: expect.stringMatching(/^sink: kafka; work: .*not to be copied/) },
      message: 'two',
    },
  ])
})
