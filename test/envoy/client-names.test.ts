import { X509Certificate } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { createNameCheck } from '../../src/envoy/client-names.ts'
import { type CertificateOptions, createAuthority } from '../support/certificates.ts'

const authority = createAuthority('clients')
const spiffe = 'spiffe://mesh.example/ns/edge/sa/Envoy'

function isWelcome(names: CertificateOptions, accepted?: readonly string[]): boolean {
  const { cert } = authority.issue('good.example', names)
  return createNameCheck(accepted)(new X509Certificate(cert))
}

describe('a client is welcome', () => {
  test.each<[string, CertificateOptions, readonly string[] | undefined]>([
    ['whatever it is called, where no names are asked for', {}, undefined],
    ['by its DNS name', { dns: ['good.example'] }, ['good.example']],
    ['by its DNS name in another case', { dns: ['Good.Example'] }, ['gOOD.example']],
    ['by its SPIFFE id', { uris: [spiffe] }, [spiffe]],
    [
      'by any one of its names',
      { dns: ['a.example', 'good.example'], uris: [spiffe] },
      ['b.example', spiffe],
    ],
    ['by a good name beside one that needs quotes', { dns: ['a, b', 'good.example'] }, ['good.example']],
    ['by a good name beside an address', { ips: ['10.0.0.1'], dns: ['good.example'] }, ['good.example']],
  ])('%s', (_case, names, accepted) => {
    expect(isWelcome(names, accepted)).toBe(true)
  })
})

describe('a client is not welcome', () => {
  test.each<[string, CertificateOptions, readonly string[]]>([
    ['by its common name', {}, ['good.example']],
    ['by its common name beside another name', { dns: ['a.example'] }, ['good.example']],
    ['by a name where none is accepted', { dns: ['good.example'] }, []],
    ['by a wildcard of its own', { dns: ['*.example'] }, ['good.example']],
    ['by a wildcard of ours', { dns: ['good.example'] }, ['*.example']],
    ['by a name below ours', { dns: ['good.example'] }, ['.example', 'example']],
    ['by a name that goes on where ours ends', { dns: ['good.example.evil.example'] }, ['good.example']],
    ['by a SPIFFE id in another case', { uris: [spiffe.toLowerCase()] }, [spiffe]],
    ['by the trust domain of a SPIFFE id', { uris: [spiffe] }, ['spiffe://mesh.example']],
    ['by a SPIFFE id in the place of a DNS name', { dns: [spiffe] }, [spiffe]],
    ['by a DNS name in the place of a URI', { uris: ['good.example'] }, ['good.example']],
    ['by an address', { ips: ['10.0.0.1'] }, ['10.0.0.1']],
    ['by a name hidden in another behind a comma', { dns: ['a, DNS:good.example'] }, ['good.example']],
    ['by a URI hidden in another behind a comma', { uris: [`http://a, URI:${spiffe}`] }, [spiffe]],
    ['by a name hidden behind a quote', { dns: ['a", DNS:good.example, DNS:"b'] }, ['good.example']],
    [
      'by a name hidden behind a backslash',
      { dns: ['a\\', 'x", DNS:good.example, DNS:"'] },
      ['good.example'],
    ],
    ['by a name hidden behind a line break', { dns: ['a\n, DNS:good.example'] }, ['good.example']],
    ['by a name with a NUL behind it', { dns: ['good.example\0.evil.example'] }, ['good.example']],
    ['by a name with a space', { dns: ['good.example '] }, ['good.example']],
  ])('%s', (_case, names, accepted) => {
    expect(isWelcome(names, accepted)).toBe(false)
  })

  test('by a text that no certificate of Node has', () => {
    const isWelcome = createNameCheck(['good.example'])

    expect(isWelcome({ subjectAltName: 'DNS:"a, DNS:good.example' })).toBe(false)
    expect(isWelcome({ subjectAltName: 'DNS:good.example,DNS:b' })).toBe(false)
    expect(isWelcome({ subjectAltName: 'DNS:good.example, what' })).toBe(false)
    expect(isWelcome({ subjectAltName: undefined })).toBe(false)
  })
})
