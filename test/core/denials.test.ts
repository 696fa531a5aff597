import { expect, test } from '@jest/globals'
import { type DenialReason, denialRow, denials, deny, isDenial } from '../../src/core/denials.ts'
import { anonymous } from '../../src/core/identity.ts'

test.each<[DenialReason, number, number, string | undefined]>([
  ['missing_token', 401, 16, undefined],
  ['unsupported_scheme', 401, 16, undefined],
  ['invalid_request', 400, 3, 'invalid_request'],
  ['invalid_token', 401, 16, 'invalid_token'],
  ['insufficient_scope', 403, 7, 'insufficient_scope'],
])('%s is HTTP %i and gRPC %i', (reason, httpStatus, grpcStatus, bearerError) => {
  const row = denialRow({ reason })

  expect(row).toMatchObject({ httpStatus, grpcStatus })
  expect(row.bearerError).toBe(bearerError)
})

test('every reason is snake_case and has a title of its own', () => {
  const titles = Object.values(denials).map(({ title }) => title)

  expect(Object.keys(denials).filter((reason) => !/^[a-z]+(_[a-z]+)*$/.test(reason))).toEqual([])
  expect(new Set(titles).size).toBe(titles.length)
})

test('a denial is told from a caller', () => {
  expect(isDenial(deny('missing_token', 'A token, please.'))).toBe(true)
  expect(isDenial(anonymous)).toBe(false)
})
