import { EventEmitter } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { beforeEach, describe, expect, test } from '@jest/globals'
import type { ConfirmChannel } from 'amqplib'
import type { AmqpMessage } from '../../src/core/amqp.ts'
import { Nacked, Transfer, type TransferLimits } from '../../src/outward/amqp-transfer.ts'
import { FakeClock } from '../support/fake-clock.ts'

const limits: TransferLimits = { silenceMs: 10_000, maxUnconfirmed: 1_000, maxUnconfirmedBytes: 1_000_000 }
const never = new AbortController().signal

/** A channel that answers when a test says so. */
class ScriptedChannel extends EventEmitter {
  readonly sent: string[] = []
  readonly #callbacks: Array<(error: Error | null) => void> = []

  publish(
    _to: string,
    _key: string,
    body: Buffer,
    _options: object,
    callback: (error: Error | null) => void,
  ) {
    this.sent.push(body.toString())
    this.#callbacks.push(callback)
    return true
  }

  /** Answers for messages by their places. */
  answer(error: Error | null, ...places: readonly number[]): void {
    for (const place of places) this.#callbacks[place]?.(error)
  }
}

let channel: ScriptedChannel
let gone: AbortController
let clock: FakeClock
beforeEach(() => {
  channel = new ScriptedChannel()
  gone = new AbortController()
  clock = new FakeClock()
})

function message(id: string, body = id): AmqpMessage {
  const type = 'auth.failed'
  return { id, type, routingKey: type, contentType: 'text/plain', timestampSeconds: 1, headers: {}, body }
}

const five = ['a', 'b', 'c', 'd', 'e']

/** Sends messages and keeps how that ended. */
function run(messages: readonly AmqpMessage[], some: Partial<TransferLimits> = {}, signal = never) {
  const connection = { gone: gone.signal, blocked: undefined }
  const transfer = new Transfer(messages, 'x', connection, channel as unknown as ConfirmChannel, {
    ...limits,
    ...some,
  })
  const state: { ended?: unknown } = {}
  const done = transfer.run(clock, signal).then(
    (refused) => {
      state.ended = refused
    },
    (error: unknown) => {
      state.ended = error
    },
  )
  return { state, done }
}

describe('the window', () => {
  test('holds so many messages, and each answer lets the next one in', async () => {
    const { done, state } = run(
      five.map((id) => message(id)),
      { maxUnconfirmed: 2 },
    )
    expect(channel.sent).toEqual(['a', 'b'])

    channel.answer(null, 1)
    expect(channel.sent).toEqual(['a', 'b', 'c'])
    channel.answer(null, 0, 2, 3)
    await nextTurn()
    expect(state).toEqual({})
    channel.answer(null, 4)

    await done
    expect(state.ended).toEqual([])
    expect(channel.sent).toEqual(five)
  })

  test('holds so many bytes; one message may be larger than all of it', async () => {
    const { done, state } = run([message('a', 'xx'), message('b', 'yy'), message('c', 'z'.repeat(50))], {
      maxUnconfirmedBytes: 3,
    })
    expect(channel.sent).toHaveLength(1)

    channel.answer(null, 0)
    expect(channel.sent).toHaveLength(2)
    channel.answer(null, 1, 2)

    await done
    expect(state.ended).toEqual([])
  })
})

test('a message that comes back before it is confirmed was unroutable', async () => {
  const { done, state } = run(five.map((id) => message(id)))

  channel.emit('return', { properties: { messageId: 'b' } })
  channel.emit('return', { properties: { messageId: 'of somebody else' } })
  channel.answer(null, 0, 1, 2, 3, 4)

  await done
  expect(state.ended).toEqual([{ index: 1, reason: 'unroutable' }])
})

test('after a nack nothing more is sent, and it fails only once all that was sent is answered for', async () => {
  const { done, state } = run(
    five.map((id) => message(id)),
    { maxUnconfirmed: 3 },
  )

  channel.answer(new Error('message nacked'), 1)
  channel.answer(null, 0)
  await nextTurn()
  expect(state).toEqual({})
  channel.answer(null, 2)

  await done
  expect(state.ended).toBeInstanceOf(Nacked)
  expect(channel.sent).toEqual(['a', 'b', 'c'])
})

describe('silence', () => {
  test('fails it within the limit', async () => {
    const { done, state } = run(five.map((id) => message(id)))

    await clock.advance(limits.silenceMs)

    await done
    expect(state.ended).toMatchObject({ message: 'no answer within 10000 ms' })
    expect(clock.pending).toEqual([])
  })

  test('is measured from the last answer: slow is not silent', async () => {
    const { state } = run(five.map((id) => message(id)))

    for (const place of [0, 1, 2, 3]) {
      await clock.advance(limits.silenceMs / 2 - 1)
      channel.answer(null, place)
    }
    expect(state).toEqual({})
  })
})

test('the end of the connection fails it with its reason, and late answers send nothing', async () => {
  const { done, state } = run(
    five.map((id) => message(id)),
    { maxUnconfirmed: 1 },
  )
  const reason = new Error('gone')

  gone.abort(reason)
  await done
  channel.answer(null, 0)

  expect(state.ended).toBe(reason)
  expect(channel.sent).toEqual(['a'])
  expect(clock.pending).toEqual([])
  expect(channel.listenerCount('return')).toBe(0)
})

test('what is called off ends with the reason of that', async () => {
  const callOff = new AbortController()
  const reason = new Error('enough')
  const { done, state } = run(
    five.map((id) => message(id)),
    {},
    callOff.signal,
  )

  callOff.abort(reason)

  await done
  expect(state.ended).toBe(reason)
})
