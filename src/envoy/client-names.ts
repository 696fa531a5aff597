import type { X509Certificate } from 'node:crypto'

/** Whether a client's certificate, whose chain is good already, names a client that may come in. */
export type NameCheck = (certificate: Pick<X509Certificate, 'subjectAltName'>) => boolean

/**
 * Accepts certificates that carry one of these names as a subject alternative name: with a colon it is a URI, compared
 * byte by byte (SPIFFE), without one a DNS name, whose case does not matter. Common names do not count (RFC 9525 §2),
 * and neither side has wildcards.
 * @param accepted absent: any certificate of the authorities will do.
 */
export function createNameCheck(accepted: readonly string[] | undefined): NameCheck {
  if (!accepted) return () => true
  const wanted = new Set(accepted.map((name) => (name.includes(':') ? `URI:${name}` : dnsName(name))))
  return ({ subjectAltName }) => alternativeNames(subjectAltName ?? '').some((name) => wanted.has(name))
}

function dnsName(name: string): string {
  return `DNS:${name.toLowerCase()}`
}

// Node quotes any name with a comma, a quote, a backslash or a control character in it since CVE-2021-44532, so that no
// name can pose as two. X509Certificate.checkHost knows no URIs and takes ".example.com" for every host below it.
const entry = /(?:^|, )([^:,"]+):("(?:[^"\\]|\\.)*"|[^,"]*)(?=, |$)/gy

/** The DNS names and URIs of a certificate; none where the text is not wholly understood. Quoted ones fit nobody. */
function alternativeNames(text: string): string[] {
  const entries = [...text.matchAll(entry)]
  if (entries.map(([whole]) => whole).join('') !== text) return []
  return entries.flatMap(([, type, name = '']) => {
    if (type === 'DNS') return dnsName(name)
    return type === 'URI' ? `URI:${name}` : []
  })
}
