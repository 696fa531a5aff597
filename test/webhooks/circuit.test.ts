import { expect, test } from '@jest/globals'
import { advanceCircuit, type Circuit, closedCircuit, learn } from '../../src/webhooks/circuit.ts'

/** A circuit after so many failures, each at the moment at which the last opening is over. */
function failed(times: number): { circuit: Circuit; nowMs: number } {
  let circuit: Circuit = closedCircuit
  let nowMs = 0
  for (let left = times; left > 0; left--) {
    if (circuit.kind === 'open') nowMs = circuit.untilMs
    circuit = learn(advanceCircuit(circuit, nowMs), false, nowMs)
  }
  return { circuit, nowMs }
}

test('four failures in a row leave it closed, the fifth opens it for half a minute', () => {
  expect(failed(4).circuit).toEqual({ kind: 'closed', failures: 4 })
  expect(failed(5).circuit).toEqual({ kind: 'open', untilMs: 30_000, trips: 1 })
})

test('a success in between starts the row anew', () => {
  const once = learn(failed(4).circuit, true, 0)

  expect(learn(once, false, 0)).toEqual({ kind: 'closed', failures: 1 })
})

test('it is half open once its time is up, and not before', () => {
  const { circuit } = failed(5)

  expect(advanceCircuit(circuit, 29_999)).toBe(circuit)
  expect(advanceCircuit(circuit, 30_000)).toEqual({ kind: 'half_open', trips: 1 })
})

test('each failed probe doubles its time, up to ten minutes', () => {
  const seconds = [5, 6, 7, 8, 9, 10, 11, 12].map((times) => {
    const { circuit, nowMs } = failed(times)
    return circuit.kind === 'open' ? (circuit.untilMs - nowMs) / 1_000 : circuit.kind
  })

  expect(seconds).toEqual([30, 60, 120, 240, 480, 600, 600, 600])
})

test('what was sent before it opened and fails later changes nothing, and a success closes it', () => {
  const { circuit } = failed(5)

  expect(learn(circuit, false, 10)).toBe(circuit)
  expect(learn(circuit, true, 10)).toEqual(closedCircuit)
})
