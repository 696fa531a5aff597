import { beforeEach, expect, test } from '@jest/globals'
import type { Batch } from '../../../src/events/spool/batch.ts'
import { HandOver, maxBufferedCharacters } from '../../../src/events/spool/hand-over.ts'
import { FakeClock } from '../../support/fake-clock.ts'

let clock: FakeClock
let handOver: HandOver
let sent: { number: number; batch: Batch }[]
beforeEach(() => {
  clock = new FakeClock()
  handOver = new HandOver(clock)
  sent = []
})

const connect = () => handOver.connect((number, batch) => sent.push({ number, batch }))
const numbers = () => sent.map(({ number }) => number)

function add(json: string, type: 'auth.failed' | 'request.completed' = 'request.completed'): boolean {
  const isTaken = handOver.add(type, json)
  handOver.pass()
  return isTaken
}

test('sends at once after a rest, and then what has come meanwhile each 20 ms, together', async () => {
  connect()
  add('"a"')
  add('"b"')
  add('"c"', 'auth.failed')
  handOver.committed(1)
  const early = [...sent]

  await clock.advance(19)
  const later = [...sent]
  await clock.advance(1)

  expect(early).toEqual([{ number: 1, batch: { types: { 'request.completed': 1 }, events: '"a"' } }])
  expect(later).toEqual(early)
  expect(sent[1]).toEqual({
    number: 2,
    batch: { types: { 'request.completed': 1, 'auth.failed': 1 }, events: '"b"\n"c"' },
  })
})

test('sends a full batch at once', () => {
  connect()
  add('"first"')
  for (let at = 0; at < 250; at++) add('"x"')

  expect(sent.map(({ batch }) => batch.types['request.completed'])).toEqual([1, 250])
})

test('lets a batch grow while nobody has answered for the one before', async () => {
  connect()
  for (const json of ['1', '2', '3']) {
    add(json)
    await clock.advance(1_000)
  }
  const unanswered = numbers()

  handOver.committed(1)

  expect(unanswered).toEqual([1])
  expect(sent[1]?.batch.events).toBe('2\n3')
})

test('sends no more than 4 Mi characters ahead of the answers', () => {
  connect()
  const kilobyte = `"${'x'.repeat(1_022)}"`
  for (let at = 0; at < 8 * 1_024; at++) add(kilobyte)
  const ahead = numbers().length

  handOver.committed(ahead)

  const characters = sent.slice(0, ahead).reduce((sum, { batch }) => sum + batch.events.length, 0)
  expect(characters).toBeGreaterThan(3.8 * 1024 * 1024)
  expect(characters).toBeLessThan(4.1 * 1024 * 1024)
  expect(numbers().length).toBe(2 * ahead)
})

test('takes no more than 32 Mi characters, and takes more once some are committed', () => {
  const large = `"${'x'.repeat(16 * 1_024)}"`
  let taken = 0
  while (add(large)) taken += 1

  connect()
  handOver.committed(1)

  expect(taken).toBe(Math.floor(maxBufferedCharacters / large.length))
  expect(handOver.characters).toBeLessThan(maxBufferedCharacters)
  expect(add(large)).toBe(true)
})

test('sends to the next what the one before had not answered, in the same order', async () => {
  connect()
  add('"a"')
  handOver.committed(1)
  await clock.advance(20)
  add('"b"')
  await clock.advance(20)
  handOver.disconnect()
  add('"c"')
  await clock.advance(20)
  const before = sent.splice(0)

  connect()
  handOver.committed(2)

  expect(before.map(({ batch }) => batch.events)).toEqual(['"a"', '"b"'])
  expect(sent.map(({ batch }) => batch.events)).toEqual(['"b"', '"c"'])
  expect(numbers()).toEqual([2, 3])
})

test('sends as much to the next, however much the one before had not answered', () => {
  const kilobyte = `"${'x'.repeat(1_022)}"`
  connect()
  for (let at = 0; at < 8 * 1_024; at++) add(kilobyte)
  const first = sent.splice(0)

  handOver.disconnect()
  connect()

  expect(first.length).toBeGreaterThan(1)
  expect(sent).toEqual(first)
})

test('at the end sends everything, and gives up what nobody has committed', () => {
  const kilobyte = `"${'x'.repeat(1_022)}"`
  for (let at = 0; at < 8 * 1_024; at++) add(kilobyte)
  connect()
  const ahead = numbers().length

  handOver.flush()
  handOver.committed(ahead)
  const rest = handOver.takeRest()

  expect(sent.length).toBeGreaterThan(ahead)
  expect(rest.length).toBe(sent.length - ahead)
  expect(handOver.characters).toBe(0)
})
