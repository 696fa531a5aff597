import { describe, expect, test } from '@jest/globals'
import { readCredential } from '../../src/auth/credentials.ts'

test('no header is no credential', () => {
  expect(readCredential(undefined)).toEqual({ kind: 'none' })
})

describe('one bearer token is a credential', () => {
  test.each([
    ['as RFC 6750 writes it', 'Bearer abc.def.ghi'],
    ['in small letters', 'bearer abc.def.ghi'],
    ['in capitals', 'BEARER abc.def.ghi'],
    ['after several spaces', 'Bearer   abc.def.ghi'],
    ['with blanks around', '  Bearer abc.def.ghi \t'],
  ])('%s', (_how, authorization) => {
    expect(readCredential(authorization)).toEqual({ kind: 'bearer', token: 'abc.def.ghi' })
  })

  test('whatever it looks like: what is in it is somebody else’s question', () => {
    expect(readCredential('Bearer \ufffd=')).toEqual({ kind: 'bearer', token: '\ufffd=' })
  })
})

describe('anything else is refused', () => {
  test.each([
    ['two tokens', 'Bearer a, Bearer b', 'invalid_request', 'repeated_authorization'],
    ['a repeated header', 'Bearer a,Bearer a', 'invalid_request', 'repeated_authorization'],
    ['a comma at the end', 'Bearer a,', 'invalid_request', 'repeated_authorization'],
    ['another scheme before the token', 'Basic eA==, Bearer a', 'invalid_request', 'repeated_authorization'],
    ['a comma alone', ',', 'invalid_request', 'repeated_authorization'],
    ['an empty header', '', 'invalid_request', 'malformed_authorization'],
    ['a blank header', ' \t ', 'invalid_request', 'malformed_authorization'],
    ['the scheme alone', 'Bearer', 'invalid_request', 'malformed_authorization'],
    ['the scheme and a space', 'Bearer ', 'invalid_request', 'malformed_authorization'],
    ['two words after the scheme', 'Bearer a b', 'invalid_request', 'malformed_authorization'],
    ['Basic', 'Basic Ym9iOnBhc3N3b3Jk', 'unsupported_scheme', 'unsupported_scheme'],
    ['DPoP', 'DPoP abc.def.ghi', 'unsupported_scheme', 'unsupported_scheme'],
    ['a token without scheme', 'abc.def.ghi', 'unsupported_scheme', 'unsupported_scheme'],
    ['a scheme that only begins like ours', 'Bearers a', 'unsupported_scheme', 'unsupported_scheme'],
    ['a tab after the scheme', 'Bearer\ta', 'unsupported_scheme', 'unsupported_scheme'],
    ['a no-break space after the scheme', 'Bearer\u00a0a', 'unsupported_scheme', 'unsupported_scheme'],
    ['the scheme in lookalike letters', 'Веаrer a', 'unsupported_scheme', 'unsupported_scheme'],
  ])('%s', (_what, authorization, reason, cause) => {
    expect(readCredential(authorization)).toMatchObject({ kind: 'denial', reason, cause })
  })
})
