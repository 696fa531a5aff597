import { type Denial, deny } from '../core/denials.ts'
import type { Identity } from '../core/identity.ts'

/** The issuer of identities that stand on a client certificate, which Envoy has verified. */
export const certificateIssuer = 'urn:gatepost:client-certificate'

/**
 * How a client certificate is known: `principal`, as Envoy itself tells it, or `xfcc`, by `x-forwarded-client-cert`,
 * which only a listener that sanitises it makes trustworthy.
 */
export type Certificates = 'off' | 'principal' | 'xfcc'

/** Makes the check of client certificates. @returns undefined where there is none. */
export function createCertificates(certificates: Certificates) {
  return (
    headers: ReadonlyMap<string, string>,
    principal: string | undefined,
  ): Identity | Denial | undefined => {
    if (certificates === 'off') return undefined
    const name =
      certificates === 'xfcc' ? readForwardedCertificate(headers.get('x-forwarded-client-cert')) : principal
    return typeof name === 'string' ? certificateIdentity(name) : name
  }
}

/** Names the caller by a certificate's URI SAN (a SPIFFE id stays whole), else by its subject. */
function certificateIdentity(name: string): Identity {
  return { kind: 'certificate', issuer: certificateIssuer, clientId: name, scopes: [], claims: {} }
}

/**
 * Reads `x-forwarded-client-cert`. Behind a listener that sanitises it (`SANITIZE_SET`) it has exactly one element, the
 * caller's own; more than one means that something a client sent was let through.
 * @returns undefined where there is no certificate.
 */
export function readForwardedCertificate(header: string | undefined): string | undefined | Denial {
  if (header === undefined || header.trim() === '') return undefined
  const elements = splitOutsideQuotes(header, ',')
  if (!elements) return malformedCertificate('The forwarded client certificate cannot be read.')
  const [element] = elements
  if (element === undefined || elements.length !== 1) {
    return deny('invalid_request', 'The client certificate was forwarded more than once.', {
      cause: 'repeated_certificate',
    })
  }
  const fields = (splitOutsideQuotes(element, ';') ?? []).map(readPair)
  // A certificate may hold several URIs; the first is the one that Envoy itself calls the principal.
  const first = (wanted: string) => fields.find(([key, value]) => key === wanted && value !== '')?.[1]
  return (
    first('uri') ?? first('subject') ?? malformedCertificate('The forwarded client certificate names nobody.')
  )
}

function malformedCertificate(detail: string): Denial {
  return deny('invalid_request', detail, { cause: 'malformed_certificate' })
}

/** @returns the parts that are not blank; undefined where a quote is never closed. */
function splitOutsideQuotes(text: string, separator: ',' | ';'): string[] | undefined {
  const parts: string[] = []
  let start = 0
  let quoted = false
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at]
    if (quoted && character === '\\') at += 1
    else if (character === '"') quoted = !quoted
    else if (character === separator && !quoted) {
      parts.push(text.slice(start, at))
      start = at + 1
    }
  }
  if (quoted) return undefined
  return [...parts, text.slice(start)].map((part) => part.trim()).filter((part) => part !== '')
}

function readPair(pair: string): [string, string] {
  const at = pair.indexOf('=')
  if (at < 0) return ['', '']
  const key = pair.slice(0, at).trim().toLowerCase()
  const value = pair.slice(at + 1).trim()
  const [, quoted] = /^"(.*)"$/s.exec(value) ?? []
  return [key, quoted === undefined ? value : quoted.replace(/\\(.)/gs, '$1')]
}
