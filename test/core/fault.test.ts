import { expect, test } from '@jest/globals'
import { Fault, faultPart } from '../../src/core/fault.ts'

test('a fault keeps its part, its message and its cause', () => {
  const cause = new Error('connection refused')

  const fault = new Fault('auth', 'Cannot fetch keys', { cause })

  expect(fault).toMatchObject({ name: 'Fault', part: 'auth', message: 'Cannot fetch keys', cause })
})

test.each([
  ['a fault, under its part', new Fault('routes', 'bad setting'), 'routes'],
  ['any other error', new TypeError('undefined is not a function'), 'internal'],
  ['whatever else is thrown', 'a string', 'internal'],
])('counts %s', (_what, thrown, part) => {
  expect(faultPart(thrown)).toBe(part)
})
