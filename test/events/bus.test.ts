import { expect, test } from '@jest/globals'
import type { EventType, GatewayEvent, Happening } from '../../src/core/events.ts'
import { type Bus, type BusParts, createBus, type Sink } from '../../src/events/bus.ts'
import { expectValidEvent } from '../support/event-schema.ts'

const refusal: Happening<'auth.failed'> = {
  type: 'auth.failed',
  atMs: Date.UTC(2030, 0, 2, 3, 4, 5, 678),
  requestId: 'request-1',
  data: { reason: 'missing_token', path: '/', token_type: 'none', route: 'unmatched' },
}

const completion: Happening<'request.completed'> = {
  type: 'request.completed',
  atMs: Date.UTC(2030, 0, 1),
  requestId: '',
  data: {
    method: 'GET',
    path: '/',
    status_code: 200,
    duration_ms: 1,
    route: 'unmatched',
    decision: 'none',
  },
}

/** A sink that keeps what it gets, batch by batch. */
function keepingSink(name = 'kept'): Sink & { batches: (readonly GatewayEvent[])[] } {
  const batches: (readonly GatewayEvent[])[] = []
  return { name, batches, write: (events) => batches.push(events) }
}

/** A bus whose deferred work a test runs by hand. */
function openBus(sinks: readonly Sink[], capacity = 10, more: Pick<BusParts, 'choose' | 'redactor'> = {}) {
  const deferred: (() => void)[] = []
  const published: EventType[] = []
  const dropped: string[] = []
  let ids = 0
  const bus: Bus = createBus({
    sinks,
    capacity,
    newId: () => {
      ids += 1
      return `00000000-0000-4000-8000-${String(ids).padStart(12, '0')}`
    },
    defer: (task) => deferred.push(task),
    onPublished: (type) => published.push(type),
    onDrop: (sink, type) => dropped.push(`${sink} ${type}`),
    ...more,
  })
  return {
    bus,
    published,
    dropped,
    deferred,
    runDeferred: () => {
      for (const task of deferred.splice(0)) task()
    },
  }
}

test('an event reaches every sink, later, in its envelope', () => {
  const sinks = [keepingSink(), keepingSink('other')]
  const { bus, runDeferred } = openBus(sinks)

  bus.publish(refusal)
  const before = sinks.map(({ batches }) => batches.length)
  runDeferred()

  expect(before).toEqual([0, 0])
  for (const { batches } of sinks) {
    expect(batches).toHaveLength(1)
    expect(expectValidEvent(batches[0]?.[0])).toEqual({
      id: '00000000-0000-4000-8000-000000000001',
      event_type: 'auth.failed',
      timestamp: '2030-01-02T03:04:05.678Z',
      request_id: 'request-1',
      data: refusal.data,
    })
  }
})

test('an event without a request id has none in its envelope', () => {
  const sink = keepingSink()
  const { bus, runDeferred } = openBus([sink])

  bus.publish(completion)
  runDeferred()

  expect(expectValidEvent(sink.batches[0]?.[0])).not.toHaveProperty('request_id')
})

test('events of one turn are handed over together and in order, and every id is another', () => {
  const sink = keepingSink()
  const { bus, runDeferred, deferred } = openBus([sink])

  bus.publish(refusal)
  bus.publish(completion)
  bus.publish(refusal)
  const tasks = deferred.length
  runDeferred()

  expect(tasks).toBe(1)
  expect(sink.batches.map((batch) => batch.map(({ event_type }) => event_type))).toEqual([
    ['auth.failed', 'request.completed', 'auth.failed'],
  ])
  expect(new Set(sink.batches.flat().map(({ id }) => id)).size).toBe(3)
})

test('what is published after a hand-over is handed over next', () => {
  const sink = keepingSink()
  const { bus, runDeferred } = openBus([sink])

  bus.publish(refusal)
  runDeferred()
  bus.publish(completion)
  runDeferred()

  expect(sink.batches.map((batch) => batch.length)).toEqual([1, 1])
})

test('past the capacity each event is dropped and counted by its type, and none of those before it', () => {
  const sink = keepingSink()
  const { bus, runDeferred, dropped, published } = openBus([sink], 1_000)

  for (let at = 0; at < 1_234; at++) bus.publish(at % 3 === 0 ? refusal : completion)
  const depth = bus.depth
  while (bus.depth > 0) runDeferred()

  const types = (all: readonly string[], type: string) => all.filter((one) => one.endsWith(type)).length
  expect(depth).toBe(1_000)
  expect(published).toHaveLength(1_234)
  // Of the numbers from 1,000 to 1,233, 78 divide by three.
  expect(dropped).toHaveLength(234)
  expect([types(dropped, 'auth.failed'), types(dropped, 'request.completed')]).toEqual([78, 156])
  expect(new Set(dropped)).toEqual(new Set(['bus auth.failed', 'bus request.completed']))
  expect(sink.batches.flat()).toHaveLength(1_000)
})

test('there is room again after a hand-over', () => {
  const sink = keepingSink()
  const { bus, runDeferred, dropped } = openBus([sink], 1)

  bus.publish(refusal)
  bus.publish(refusal)
  runDeferred()
  bus.publish(completion)
  runDeferred()

  expect(dropped).toEqual(['bus auth.failed'])
  expect(sink.batches.flat().map(({ event_type }) => event_type)).toEqual([
    'auth.failed',
    'request.completed',
  ])
  expect(bus.depth).toBe(0)
})

test('a flush hands over what waits, and the deferred hand-over then has nothing left to do', () => {
  const sink = keepingSink()
  const { bus, runDeferred } = openBus([sink])

  bus.publish(refusal)
  bus.flush()
  bus.flush()
  runDeferred()

  expect(sink.batches.map((batch) => batch.length)).toEqual([1])
})

test('twenty are handed over at a time, so that others have their turn between, and all come in order', () => {
  const sink = keepingSink()
  const { bus, runDeferred } = openBus([sink], 10_000)
  for (let at = 0; at < 50; at++) bus.publish({ ...refusal, requestId: `${at}` })

  runDeferred()
  bus.publish({ ...refusal, requestId: '50' })
  const depth = bus.depth
  for (let turn = 0; turn < 3; turn++) runDeferred()

  expect(depth).toBe(31)
  expect(sink.batches.map(({ length }) => length)).toEqual([20, 20, 11])
  expect(sink.batches.flat().map(({ request_id }) => Number(request_id))).toEqual(
    Array.from({ length: 51 }, (_, at) => at),
  )
})

test('of many that wait a quarter is handed over at a time', () => {
  const sink = keepingSink()
  const { bus, runDeferred } = openBus([sink], 10_000)
  for (let at = 0; at < 1_000; at++) bus.publish(refusal)

  for (let turn = 0; turn < 3; turn++) runDeferred()

  expect(sink.batches.map(({ length }) => length)).toEqual([250, 188, 141])
})

test('a flush hands over everything, however much it is', () => {
  const sink = keepingSink()
  const { bus } = openBus([sink], 10_000)
  for (let at = 0; at < 2_500; at++) bus.publish(refusal)

  bus.flush()

  expect([bus.depth, sink.batches.flat().length]).toEqual([0, 2_500])
})

test('without sinks events are counted and nothing is kept', () => {
  const { bus, published, dropped, deferred } = openBus([], 1)

  for (let at = 0; at < 5; at++) bus.publish(refusal)

  expect(published).toHaveLength(5)
  expect([bus.depth, dropped.length, deferred.length]).toEqual([0, 0, 0])
})

test('an event that is not chosen takes no room, is no drop, and is counted as one that happened', () => {
  const sink = keepingSink()
  const { bus, runDeferred, dropped, published } = openBus([sink], 1, {
    choose: ({ type }) => type === 'auth.failed',
  })

  bus.publish(completion)
  const depth = bus.depth
  bus.publish(refusal)
  bus.publish(completion)
  runDeferred()

  expect([depth, dropped]).toEqual([0, []])
  expect(published).toEqual(['request.completed', 'auth.failed', 'request.completed'])
  expect(sink.batches.flat().map(({ event_type }) => event_type)).toEqual(['auth.failed'])
})

test('every sink gets the data as redacted, and each batch is redacted anew', () => {
  const sinks = [keepingSink(), keepingSink('other')]
  let batches = 0
  const { bus, runDeferred } = openBus(sinks, 10, {
    redactor: () => {
      batches += 1
      const route = `batch ${batches}`
      return (data) => ({ ...data, route })
    },
  })

  bus.publish(refusal)
  bus.publish(refusal)
  runDeferred()
  bus.publish(refusal)
  runDeferred()

  for (const { batches: got } of sinks) {
    expect(got.map((batch) => batch.map(({ data }) => ('route' in data ? data.route : '')))).toEqual([
      ['batch 1', 'batch 1'],
      ['batch 2'],
    ])
  }
})
