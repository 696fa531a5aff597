import { createPrivateKey, X509Certificate } from 'node:crypto'
import { type BigIntStats, readFileSync, statSync } from 'node:fs'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import { CannotStart } from '../core/cannot-start.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/log.ts'

/** The files of the TLS listener, all of them PEM. */
export interface TlsFiles {
  /** Its certificate, followed by those between it and its authority. */
  certFile: string
  keyFile: string
  /** The authorities that clients must have their certificates from. */
  clientCaFile: string
}

/** What the three files hold, once they are known to fit each other. */
export interface TlsCredentials {
  /** For `tls.createServer` and `setSecureContext`. */
  context: SecureContextOptions
  certificate: X509Certificate
}

/** Files that are followed. */
export interface FollowedTlsFiles {
  /** What they held at the start. */
  first: TlsCredentials
  /** Follows them no longer. */
  close(): void
}

/** How often the files are looked at. A change is taken up once two looks have found the same. */
const lookEveryMs = 2_000

const variables: Readonly<Record<keyof TlsFiles, string>> = {
  certFile: 'GATEPOST_GRPC_TLS_CERT_FILE',
  keyFile: 'GATEPOST_GRPC_TLS_KEY_FILE',
  clientCaFile: 'GATEPOST_GRPC_TLS_CLIENT_CA_FILE',
}

/**
 * Reads the files and follows them. They change as a whole: `adopt` gets a new set only if all of it is good; a bad one
 * is told in one warning and tried again at each look, in case it was the disk's fault.
 * @throws CannotStart where the first set will not do. An expired certificate is only a warning then.
 */
export function followTlsFiles(
  files: TlsFiles,
  { clock, logger }: { clock: Clock; logger: Logger },
  adopt: (credentials: TlsCredentials) => void,
): FollowedTlsFiles {
  let adoptedStamp = stampOf(files)
  const first = readCredentials(files)
  let current = first
  let lastStamp = adoptedStamp
  let complaint: string | undefined
  let toldExpired: TlsCredentials | undefined

  // Kubernetes swaps a link above the files, of which fs.watch on them sees nothing.
  function look(): void {
    const stamp = stampOf(files)
    // Files that are being written, one after the other, must not be taken up half way.
    const settled = stamp === lastStamp
    lastStamp = stamp
    if (stamp === adoptedStamp) complaint = undefined
    else if (settled) takeUp(stamp)
    warnIfExpired()
    cancel = clock.after(lookEveryMs, look)
  }

  function takeUp(stamp: string): void {
    try {
      const next = readCredentials(files)
      if (stampOf(files) !== stamp) return
      if (!sameContext(next, current)) change(next)
      adoptedStamp = stamp
      complaint = undefined
    } catch (error) {
      const problem = (error as Error).message
      if (complaint === `${stamp} ${problem}`) return
      complaint = `${stamp} ${problem}`
      logger.warn({ problem }, 'new TLS files are no good, the old ones stay')
    }
  }

  function change(next: TlsCredentials): void {
    const now = clock.now()
    if (!isValid(next, now) && isValid(current, now)) {
      throw new Error(`${variables.certFile}: the new certificate is ${validity(next)}, the old one is good`)
    }
    adopt(next)
    current = next
    const { serialNumber, validToDate } = next.certificate
    logger.info({ serial_number: serialNumber, valid_to: validToDate.toISOString() }, 'new TLS files adopted')
  }

  function warnIfExpired(): void {
    if (toldExpired === current || isValid(current, clock.now())) return
    toldExpired = current
    logger.warn({ file: files.certFile }, `the certificate in use is ${validity(current)}`)
  }

  warnIfExpired()
  let cancel = clock.after(lookEveryMs, look)
  return { first, close: () => cancel() }
}

/** Tells one version of the files from another. A file that is not there is a version too. */
function stampOf(files: TlsFiles): string {
  return [files.certFile, files.keyFile, files.clientCaFile].map(stampOfFile).join(' ')
}

function stampOfFile(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs }: BigIntStats = statSync(path, { bigint: true })
    return [dev, ino, size, mtimeNs, ctimeNs].join('/')
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown'
  }
}

function readCredentials(files: TlsFiles): TlsCredentials {
  const problems: string[] = []
  const read = <T>(name: keyof TlsFiles, parse: (pem: string) => T): T | undefined => {
    try {
      return parse(readFileSync(files[name], 'utf8'))
    } catch (error) {
      problems.push(`${nameOf(files, name)}: ${whyNot(error as NodeJS.ErrnoException)}`)
      return undefined
    }
  }
  const chain = read('certFile', parseCertificates)
  const key = read('keyFile', parseKey)
  const authorities = read('clientCaFile', parseCertificates)
  if (!chain || !key || !authorities) throw new CannotStart(problems.join('\n'), undefined)
  const [certificate] = chain
  if (!certificate.checkPrivateKey(createPrivateKey(key))) {
    throw new CannotStart(`${nameOf(files, 'keyFile')}: it is not the key of the certificate`, undefined)
  }
  const context = {
    cert: chain.join(''),
    key,
    ca: authorities.map(String),
    minVersion: 'TLSv1.2',
  } satisfies SecureContextOptions
  checkContext(context, files)
  return { context, certificate }
}

/** OpenSSL has rules of its own, such as the least size of a key. */
function checkContext({ ca, ...own }: SecureContextOptions, files: TlsFiles): void {
  const checks = [
    ['certFile', own],
    ['clientCaFile', { ca }],
  ] as const
  for (const [name, options] of checks) {
    try {
      createSecureContext(options)
    } catch (error) {
      throw new CannotStart(`${nameOf(files, name)}: OpenSSL refuses it: ${(error as Error).message}`, error)
    }
  }
}

function nameOf(files: TlsFiles, name: keyof TlsFiles): string {
  return `${variables[name]}: cannot use ${JSON.stringify(files[name])}`
}

const systemWords: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a folder',
}

function whyNot({ code = '', message }: NodeJS.ErrnoException): string {
  return systemWords[code] ?? message
}

/** @throws Error unless every certificate of the text can be read: a bundle that is cut short is no bundle. */
function parseCertificates(pem: string): [X509Certificate, ...X509Certificate[]] {
  const begun = pem.split('-----BEGIN CERTIFICATE-----').length - 1
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  if (begun === 0) throw new Error('it holds no PEM certificate')
  if (blocks.length < begun) throw new Error('it holds a certificate that is cut short')
  return blocks.map(parseCertificate) as [X509Certificate, ...X509Certificate[]]
}

function parseCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (cause) {
    throw new Error('it holds a certificate that cannot be read', { cause })
  }
}

/** @returns the text as it is. @throws Error unless it is a private key. */
function parseKey(pem: string): string {
  if (!/-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/.test(pem)) throw new Error('it holds no PEM private key')
  if (/\bENCRYPTED\b/.test(pem))
    throw new Error('its private key is encrypted; Gatepost has no passphrase for it')
  try {
    createPrivateKey(pem)
  } catch (cause) {
    throw new Error('it holds a private key that cannot be read; it may be cut short', { cause })
  }
  return pem
}

function sameContext({ context: a }: TlsCredentials, { context: b }: TlsCredentials): boolean {
  return a.cert === b.cert && a.key === b.key && String(a.ca) === String(b.ca)
}

function isValid({ certificate }: TlsCredentials, nowMs: number): boolean {
  return certificate.validFromDate.getTime() <= nowMs && nowMs <= certificate.validToDate.getTime()
}

function validity({ certificate }: TlsCredentials): string {
  return `valid only from ${certificate.validFromDate.toISOString()} to ${certificate.validToDate.toISOString()}`
}
