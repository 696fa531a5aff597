import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { createLabelBudget, otherLabel } from '../../src/observability/label-budget.ts'

function open(size: number) {
  const demoted: string[] = []
  const budget = createLabelBudget(size, (value) => demoted.push(value))
  return {
    demoted,
    labelOf: budget.labelOf,
    /** Sees a value so often. @returns its last label. */
    see: (value: string, times: number) => {
      let label = ''
      for (let seen = 0; seen < times; seen++) label = budget.labelOf(value)
      return label
    },
  }
}

test('a value has a name while there is room, and is one of many afterwards', () => {
  const { labelOf } = open(2)

  expect(['a', 'b', 'c', 'a', 'd', 'b'].map(labelOf)).toEqual(['a', 'b', otherLabel, 'a', otherLabel, 'b'])
})

describe('a flood of values that come once each', () => {
  test('displaces none of those that are used', () => {
    const { labelOf, demoted, see } = open(3)
    for (const value of ['alice', 'bob', 'carol']) see(value, 50)

    const labels = new Set(Array.from({ length: 50_000 }, (_, at) => labelOf(`flood-${at}`)))

    expect([...labels]).toEqual([otherLabel])
    expect(demoted).toEqual([])
    expect(['alice', 'bob', 'carol'].map(labelOf)).toEqual(['alice', 'bob', 'carol'])
  })

  test('that came first gives its names to those that are used', () => {
    const { labelOf, demoted, see } = open(2)
    for (let at = 0; at < 1_000; at++) labelOf(`flood-${at}`)

    const labels = ['alice', 'bob'].map((value) => see(value, 5))

    expect(labels).toEqual(['alice', 'bob'])
    expect(demoted).toEqual(['flood-0', 'flood-1'])
  })

  // There are eight candidates: one that has more than an eighth of the flood is never lost among them.
  test('that goes on all the while does not keep a used value from its name', () => {
    const { labelOf, see } = open(4)
    for (const value of ['a', 'b', 'c', 'd']) see(value, 3)
    let label = ''

    for (let at = 0; at < 1_000; at++) {
      labelOf(`flood-${at}`)
      if (at % 5 === 0) label = labelOf('alice')
    }

    expect(label).toBe('alice')
  })
})

test('a newcomer takes the name of the rarest once it was surely seen more often, and not before', () => {
  const { labelOf, demoted, see } = open(2)
  see('rare', 3)
  see('frequent', 30)

  const before = see('new', 4)
  const after = labelOf('new')

  expect([before, after]).toEqual([otherLabel, 'new'])
  expect(demoted).toEqual(['rare'])
  expect(labelOf('rare')).toBe(otherLabel)
})

test('what was frequent long ago makes room in the end', () => {
  const { see, demoted } = open(1)
  see('yesterday', 50_000)

  const label = see('today', 60_000)

  expect(label).toBe('today')
  expect(demoted).toEqual(['yesterday'])
})

test('a value too long for a name gets none, though there is room', () => {
  const { labelOf, see } = open(2)

  expect(see('x'.repeat(257), 100)).toBe(otherLabel)
  expect(labelOf('x'.repeat(256))).toBe('x'.repeat(256))
})

test('whatever comes, there are never more names than the budget, each value is its own name or other', () => {
  const values = fc.array(fc.nat(40).map(String), { maxLength: 600 })

  fc.assert(
    fc.property(values, fc.integer({ min: 1, max: 6 }), (seen, size) => {
      const names = new Set<string>()
      const budget = createLabelBudget(size, (value) => {
        // Only what has a name can lose it.
        expect(names.delete(value)).toBe(true)
      })
      for (const value of seen) {
        const label = budget.labelOf(value)
        if (label !== otherLabel) names.add(label)

        expect([value, otherLabel]).toContain(label)
        expect(names.size).toBeLessThanOrEqual(size)
      }
    }),
  )
})
