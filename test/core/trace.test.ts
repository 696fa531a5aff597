import { describe, expect, test } from '@jest/globals'
import { traceId } from '../../src/core/trace.ts'

const id = '4bf92f3577b34da6a3ce929d0e0e4736'
const parent = '00f067aa0ba902b7'

describe('the trace id', () => {
  test.each([
    ['of a sampled request', `00-${id}-${parent}-01`],
    ['of one that is not sampled', `00-${id}-${parent}-00`],
    ['of a version to come', `01-${id}-${parent}-01`],
    ['of a version to come with more fields', `cc-${id}-${parent}-01-what-the-future-will-be-like`],
  ])('%s is read', (_what, traceparent) => {
    expect(traceId(traceparent)).toBe(id)
  })

  test.each([
    ['a header that is missing', undefined],
    ['an empty header', ''],
    ['version ff', `ff-${id}-${parent}-01`],
    ['version 00 with more fields', `00-${id}-${parent}-01-more`],
    ['a version to come with something stuck to its flags', `01-${id}-${parent}-01.`],
    ['an id of zeros', `00-${'0'.repeat(32)}-${parent}-01`],
    ['a parent of zeros', `00-${id}-${'0'.repeat(16)}-01`],
    ['upper case', `00-${id.toUpperCase()}-${parent}-01`],
    ['a short id', `00-${id.slice(1)}-${parent}-01`],
    ['a long id', `00-${id}0-${parent}-01`],
    ['a missing field', `00-${id}-${parent}`],
    ['a letter that is no hex digit', `00-${id.slice(1)}g-${parent}-01`],
    ['two headers joined', `00-${id}-${parent}-01,00-${id}-${parent}-01`],
    ['a line break at the end', `00-${id}-${parent}-01\n`],
  ])('is not read from %s', (_what, traceparent) => {
    expect(traceId(traceparent)).toBeUndefined()
  })
})
