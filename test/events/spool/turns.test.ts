import { expect, test } from '@jest/globals'
import { type StepReader, stepTurn } from '../../../src/events/spool/turns.ts'

const account = { sent: () => undefined, damaged: () => undefined, refused: () => undefined }

test.each<[what: string, more: Pick<StepReader, 'maxEvents'>, expected: number]>([
  ['the bound, where a reader says nothing', {}, 500],
  ['as many as it says', { maxEvents: () => 2 }, 2],
  ['the bound, where it says more', { maxEvents: () => 2_000 }, 500],
])('a step takes %s', async (_what, more, expected) => {
  const seen: number[] = []
  const log = { step: (_name: string, limits: { maxEvents: number }) => void seen.push(limits.maxEvents) }
  const store = { attempt: (work: (opened: never) => unknown) => ({ ok: true, value: work(log as never) }) }
  const reader = { kind: 'step', name: 'r', prepare() {}, step() {}, onStepped() {}, ...more } as const

  const turn = await stepTurn(reader, { store: store as never }, account)()

  expect([turn, seen]).toEqual(['idle', [expected]])
})
