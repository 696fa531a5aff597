import { expect, test } from '@jest/globals'
import { Lane, type Later, type Turn } from '../../src/webhooks/worker-lanes.ts'
import { FakeClock } from '../support/fake-clock.ts'

function open(allowance: Partial<ConstructorParameters<typeof Lane>[0]> = {}) {
  const clock = new FakeClock()
  const lane = new Lane({ concurrency: 2, ...allowance }, clock)
  const answers: Array<Turn | Later> = []
  const enter = async (times = 1) => {
    for (let left = times; left > 0; left--) void lane.enter().then((answer) => answers.push(answer))
    await clock.advance(0)
  }
  const turns = () => answers.filter((answer) => answer.kind === 'turn')
  const laters = () => answers.filter((answer) => answer.kind === 'later')
  const finish = async (isGood: boolean, durationMs = 10) => {
    const turn = answers.splice(answers.indexOf(turns()[0] as Turn), 1)[0] as Turn
    turn.done(isGood, durationMs)
    await clock.advance(0)
  }
  return { clock, lane, answers, enter, turns, laters, finish }
}

test('as many attempts are under way as the endpoint allows, the others wait for their turn', async () => {
  const { enter, turns, laters, finish } = open()

  await enter(5)

  expect(turns()).toHaveLength(2)
  expect(laters()).toEqual([])
  await finish(true)
  expect(turns()).toHaveLength(2)
})

test('what would wait longer than a second is sent away for as long', async () => {
  const { enter, turns, laters, finish } = open()
  for (let left = 30; left > 0; left--) {
    await enter()
    await finish(true, 1_000)
  }

  await enter(6)

  expect(turns()).toHaveLength(2)
  const [later] = laters()
  expect(laters()).toHaveLength(2)
  expect(later).toMatchObject({ reason: 'busy' })
  expect(later?.afterMs).toBeGreaterThan(1_000)
})

test('a rate admits its quota at once, and then one for each share of the window', async () => {
  const { clock, enter, turns, laters, finish } = open({
    concurrency: 64,
    rateLimit: { limit: 10, windowMs: 2_000 },
  })
  await enter(20)
  expect(turns()).toHaveLength(10)
  expect(laters().length).toBeGreaterThan(0)

  await clock.advance(200)
  expect(turns()).toHaveLength(11)
  await finish(true)
  await clock.advance(200)

  expect(turns()).toHaveLength(11)
})

test('a rate that the file changes holds from then on', async () => {
  const { lane, enter, turns } = open({ concurrency: 64, rateLimit: { limit: 1, windowMs: 1_000 } })
  await enter(2)
  expect(turns()).toHaveLength(1)

  lane.allow({ concurrency: 64 })
  await enter()

  expect(turns()).toHaveLength(3)
})

test('five failures in a row send everybody away for half a minute, those who wait too', async () => {
  const { enter, turns, laters, finish } = open()
  await enter(9)
  for (let left = 5; left > 0; left--) await finish(false)

  await enter()

  expect(turns()).toHaveLength(1)
  expect(laters()).toHaveLength(4)
  for (const later of laters()) expect(later).toMatchObject({ reason: 'circuit', afterMs: 30_000 })
})

test('after that one at a time tries the endpoint out; one success lets all of them in', async () => {
  const { clock, enter, turns, laters, finish, answers } = open()
  await enter(5)
  for (let left = 5; left > 0; left--) await finish(false)
  await clock.advance(30_000)
  answers.splice(0)

  await enter(3)
  expect(turns()).toHaveLength(1)
  expect(laters()).toHaveLength(2)
  await finish(true)
  await enter(2)

  expect(turns()).toHaveLength(2)
})

test('a probe that fails keeps everybody away for twice as long', async () => {
  const { clock, enter, laters, finish, answers } = open()
  await enter(5)
  for (let left = 5; left > 0; left--) await finish(false)
  await clock.advance(30_000)
  await enter()
  await finish(false)
  answers.splice(0)

  await enter()

  expect(laters()).toMatchObject([{ reason: 'circuit', afterMs: 60_000 }])
})

test('whoever waits is sent away at the end', async () => {
  const { lane, enter, laters, clock } = open()
  await enter(4)

  lane.clear()
  await clock.advance(0)

  expect(laters()).toHaveLength(2)
})
