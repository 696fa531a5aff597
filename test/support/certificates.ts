import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'

/** A certificate and its private key, both PEM. */
export interface KeyPair {
  cert: string
  key: string
}

/** What a certificate says. It will do for servers and for clients. */
export interface CertificateOptions {
  /** DNS names among the subject alternative names. */
  dns?: readonly string[]
  /** URIs among the subject alternative names, such as SPIFFE ids. */
  uris?: readonly string[]
  /** IPv4 addresses among the subject alternative names. */
  ips?: readonly string[]
  /** Default: an hour ago. */
  validFrom?: Date
  /** Default: in a day. */
  validTo?: Date
}

/** A certificate authority of a test's own. */
export interface Authority extends KeyPair {
  /** Makes a key pair and signs its certificate. */
  issue(commonName: string, options?: CertificateOptions): KeyPair
}

const hourMs = 3_600_000

const ecdsaWithSha256 = sequence(oid(1, 2, 840, 10045, 4, 3, 2))

/** Makes a certificate authority; made anew under the same name, it is another one. All keys are on P-256. */
export function createAuthority(commonName: string): Authority {
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const issuer = { name: distinguishedName(commonName), keyId: keyIdOf(own.publicKey), key: own.privateKey }
  return {
    cert: certificate(issuer, commonName, own.publicKey, authorityExtensions(own.publicKey), {}),
    key: pemOf(own.privateKey),
    issue(name, options = {}) {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const extensions = leafExtensions(issuer.keyId, options)
      return { cert: certificate(issuer, name, publicKey, extensions, options), key: pemOf(privateKey) }
    },
  }
}

interface Issuer {
  name: Buffer
  keyId: Buffer
  key: KeyObject
}

/** RFC 5280 §4.1. */
function certificate(
  issuer: Issuer,
  commonName: string,
  publicKey: KeyObject,
  extensions: Buffer,
  { validFrom, validTo }: CertificateOptions,
): string {
  const signedPart = sequence(
    der(0xa0, integer(2)),
    der(0x02, Buffer.of(0x01), randomBytes(15)),
    ecdsaWithSha256,
    issuer.name,
    sequence(
      time(validFrom ?? new Date(Date.now() - hourMs)),
      time(validTo ?? new Date(Date.now() + 24 * hourMs)),
    ),
    distinguishedName(commonName),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, extensions),
  )
  const whole = sequence(signedPart, ecdsaWithSha256, bits(sign('sha256', signedPart, issuer.key)))
  const base64 = whole.toString('base64').replace(/.{64}/g, '$&\n').trimEnd()
  return `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`
}

function authorityExtensions(publicKey: KeyObject): Buffer {
  return sequence(
    extension([2, 5, 29, 19], sequence(der(0x01, Buffer.of(0xff))), 'critical'),
    // Signs certificates.
    extension([2, 5, 29, 15], der(0x03, Buffer.of(2, 0x04)), 'critical'),
    extension([2, 5, 29, 14], der(0x04, keyIdOf(publicKey))),
  )
}

function leafExtensions(issuerKeyId: Buffer, { dns = [], uris = [], ips = [] }: CertificateOptions): Buffer {
  const names = [
    ...dns.map((name) => der(0x82, Buffer.from(name, 'latin1'))),
    ...uris.map((uri) => der(0x86, Buffer.from(uri, 'latin1'))),
    ...ips.map((ip) => der(0x87, Buffer.from(ip.split('.').map(Number)))),
  ]
  return sequence(
    extension([2, 5, 29, 35], sequence(der(0x80, issuerKeyId))),
    // Signs handshakes, as a server and as a client.
    extension([2, 5, 29, 15], der(0x03, Buffer.of(7, 0x80)), 'critical'),
    extension([2, 5, 29, 37], sequence(oid(1, 3, 6, 1, 5, 5, 7, 3, 1), oid(1, 3, 6, 1, 5, 5, 7, 3, 2))),
    ...(names.length > 0 ? [extension([2, 5, 29, 17], sequence(...names))] : []),
  )
}

function extension(id: readonly number[], value: Buffer, critical?: 'critical'): Buffer {
  return sequence(oid(...id), ...(critical ? [der(0x01, Buffer.of(0xff))] : []), der(0x04, value))
}

function distinguishedName(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid(2, 5, 4, 3), der(0x0c, Buffer.from(commonName)))))
}

function keyIdOf(publicKey: KeyObject): Buffer {
  return createHash('sha1')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest()
}

function pemOf(privateKey: KeyObject): string {
  return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

/** A tag, the length of its content, the content. */
function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content)
  if (body.length < 0x80) return Buffer.concat([Buffer.of(tag, body.length), body])
  return Buffer.concat([Buffer.of(tag, 0x82, body.length >> 8, body.length & 0xff), body])
}

function sequence(...content: readonly Buffer[]): Buffer {
  return der(0x30, ...content)
}

function integer(value: number): Buffer {
  return der(0x02, Buffer.of(value))
}

function bits(content: Buffer): Buffer {
  return der(0x03, Buffer.of(0), content)
}

function oid(...[first = 0, second = 0, ...rest]: readonly number[]): Buffer {
  return der(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]))
}

/** Seven bits to a byte, the highest first; all bytes but the last have their top bit set. */
function base128(value: number): number[] {
  const last = value & 0x7f
  const before = value >> 7
  return before === 0 ? [last] : [...base128(before).map((byte) => byte | 0x80), last]
}

/** RFC 5280 §4.1.2.5: two digits of the year until 2049, four from then on. */
function time(at: Date): Buffer {
  const digits = at.toISOString().replace(/\.\d+|[-:T]/g, '')
  return at.getUTCFullYear() < 2050 ? der(0x17, Buffer.from(digits.slice(2))) : der(0x18, Buffer.from(digits))
}
