import { describe, expect, test } from '@jest/globals'
import { createCertificates, readForwardedCertificate } from '../../src/auth/certificates.ts'

const spiffe = 'spiffe://prod.example.com/ns/shop/sa/checkout'
const hash = 'Hash=468ed33be74eee6556d90c0149c1309e9ba61d6425303443c0748a02dd8de688'
const chain = 'Cert="-----BEGIN%20CERTIFICATE-----%0AMIIB%0A-----END%20CERTIFICATE-----%0A"'

function show(header: string) {
  return readForwardedCertificate(header)
}

describe('x-forwarded-client-cert', () => {
  test.each([
    ['a SPIFFE id, whole', `By=spiffe://prod/gw;${hash};URI=${spiffe}`, spiffe],
    ['the URI before the subject', `${hash};Subject="CN=checkout";URI=${spiffe}`, spiffe],
    ['the first of several URIs, as Envoy’s principal is', `${hash};URI=${spiffe};URI=spiffe://b`, spiffe],
    ['the subject where there is no URI', `${hash};Subject="CN=checkout,O=Shop";DNS=a`, 'CN=checkout,O=Shop'],
    ['the subject where the URI is empty', `${hash};URI=;Subject="CN=checkout"`, 'CN=checkout'],
    ['a URI in quotes', `${hash};URI="${spiffe}"`, spiffe],
    ['separators inside quotes', `${hash};Subject="CN=a;b,c=d"`, 'CN=a;b,c=d'],
    ['quotes inside quotes', `${hash};Subject="CN=\\"the\\" one"`, 'CN="the" one'],
    ['backslashes inside quotes', `${hash};Subject="CN=a\\\\,b"`, 'CN=a\\,b'],
    ['keys in any case', `${hash};uri=${spiffe}`, spiffe],
    ['blanks around its parts', ` ${hash} ; URI = ${spiffe} `, spiffe],
    ['a whole certificate beside it', `${hash};${chain};URI=${spiffe};DNS=a.example;DNS=b.example`, spiffe],
  ])('reads %s', (_what, header, name) => {
    expect(show(header)).toBe(name)
  })

  test.each([
    ['a second element', `${hash};URI=spiffe://evil/admin,${hash};URI=${spiffe}`],
    ['the same element twice', `URI=${spiffe},URI=${spiffe}`],
    ['an element after a quoted comma', `Subject="CN=a,b",URI=${spiffe}`],
  ])('with %s was not sanitised, and is refused', (_what, header) => {
    expect(show(header)).toMatchObject({
      kind: 'denial',
      reason: 'invalid_request',
      cause: 'repeated_certificate',
    })
  })

  test.each([
    ['names nobody', hash],
    ['has nothing but empty names', 'URI=;Subject=""'],
    ['is no list of pairs', 'spiffe'],
    ['only seems to have a URI', `uri${spiffe}`],
    ['has a quote that never ends', `Subject="CN=a;URI=${spiffe}`],
    ['ends in a backslash', 'Subject="CN=a\\'],
  ])('that %s is refused', (_what, header) => {
    expect(show(header)).toMatchObject({
      kind: 'denial',
      reason: 'invalid_request',
      cause: 'malformed_certificate',
    })
  })

  test.each(['', '  '])('that is blank (%j) is no certificate', (header) => {
    expect(show(header)).toBeUndefined()
  })

  test('made of quotes is refused, however long', () => {
    expect(show(`"${'\\"'.repeat(500_000)}`)).toMatchObject({ cause: 'malformed_certificate' })
  })
})

describe('the caller', () => {
  const forwarded = new Map([['x-forwarded-client-cert', `${hash};URI=${spiffe}`]])

  test('by principal is who Envoy says, whatever a header claims', () => {
    const identify = createCertificates('principal')

    expect(identify(forwarded, 'spiffe://prod.example.com/ns/a/sa/b')).toEqual({
      kind: 'certificate',
      issuer: 'urn:gatepost:client-certificate',
      clientId: 'spiffe://prod.example.com/ns/a/sa/b',
      scopes: [],
      claims: {},
    })
    expect(identify(forwarded, undefined)).toBeUndefined()
  })

  test('by xfcc is whom the header names, whatever Envoy says of the next hop', () => {
    const identify = createCertificates('xfcc')

    expect(identify(forwarded, 'spiffe://prod.example.com/gateway')).toMatchObject({ clientId: spiffe })
    expect(identify(new Map(), 'spiffe://prod.example.com/gateway')).toBeUndefined()
  })

  test('is nobody where certificates are no credential, and a malformed header is nobody’s business', () => {
    const identify = createCertificates('off')

    expect(identify(forwarded, spiffe)).toBeUndefined()
    expect(identify(new Map([['x-forwarded-client-cert', 'a,b']]), undefined)).toBeUndefined()
  })
})
