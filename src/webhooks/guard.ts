import { lookup as systemLookup } from 'node:dns/promises'
import { isIP, type LookupFunction } from 'node:net'
import { bulkhead } from 'cockatiel'
import ipaddr from 'ipaddr.js'
import { Agent, buildConnector } from 'undici'

/** What deliveries may reach beside public addresses by https. */
export interface GuardRules {
  /** Loopback, private, link-local and all other addresses that are not public. */
  allowPrivate: boolean
  /** Plain http beyond loopback. */
  allowPlaintext: boolean
}

/** The protocol of a URL that deliveries may have. */
export type WebProtocol = 'http:' | 'https:'

/** Says why an address must not be connected to; undefined where it may. */
export type CheckAddress = (address: string, protocol: WebProtocol) => string | undefined

/** Where a name points: all of its addresses. It rejects where the name has none. */
export type ResolveName = (hostname: string) => Promise<readonly Resolved[]>

/** One address of a name. */
export interface Resolved {
  address: string
  family: number
}

/** An address that deliveries must not reach: no connection was made. */
export class AddressRefused extends Error {}

/** A name without an address: no connection was made. */
export class NameUnresolved extends Error {}

/** Services of clouds that have a public address, but answer from within alone: Azure's WireServer, with secrets of the machine. */
const metadata = new Set(['168.63.129.16'])

const unicastIpv6 = ipaddr.IPv6.parseCIDR('2000::/3')

/**
 * The kind of an address: `public`, or the name of the special range that it is in. An IPv4 address within an IPv6 one
 * counts as the former; those within NAT64, 6to4 and Teredo addresses lead who knows where, so these are special.
 * What is no address at all is `unknown`.
 */
export function addressKind(text: string): string {
  if (!ipaddr.isValid(text)) return 'unknown'
  const address = ipaddr.process(text)
  const range = address.range()
  if (range !== 'unicast') return range
  if (metadata.has(address.toString())) return 'metadata'
  if (!(address instanceof ipaddr.IPv6)) return 'public'
  // Of all of IPv6 only this much has been given out (RFC 4291 §2.4): the rest is not ours to try.
  return address.match(unicastIpv6) ? 'public' : 'reserved'
}

/** Makes the check of addresses by the rules. */
export function checkByRules({ allowPrivate, allowPlaintext }: GuardRules): CheckAddress {
  return (address, protocol) => {
    const kind = addressKind(address)
    if (kind !== 'public' && !allowPrivate) {
      return `${address} is not a public address (${kind}); GATEPOST_WEBHOOK_ALLOW_PRIVATE=true would allow it`
    }
    if (protocol === 'http:' && kind !== 'loopback' && !allowPlaintext) return plaintextRefused
    return undefined
  }
}

const plaintextRefused =
  'plain http is for loopback only; use https, or set GATEPOST_ALLOW_PLAINTEXT=true to allow it'

/**
 * Says what is wrong with a URL as far as its text tells: its form, its protocol, credentials in it, an address in
 * whatever spelling. Where its name leads is checked at each connection.
 * @returns undefined where nothing is. It quotes no more of the URL than its address: the rest may be a secret.
 */
export function urlProblem(text: string, check: CheckAddress): string | undefined {
  const url = URL.parse(text)
  if (!url || !isWebProtocol(url.protocol)) return 'it is no https URL'
  if (url.username !== '' || url.password !== '') return 'it holds credentials; send them in a header'
  const address = literalAddress(url.hostname)
  return address === undefined ? undefined : check(address, url.protocol)
}

function isWebProtocol(protocol: string): protocol is WebProtocol {
  return protocol === 'https:' || protocol === 'http:'
}

/** The address that a host is, in place of a name. URL parsers have turned every spelling into the usual one. */
function literalAddress(hostname: string): string | undefined {
  const bare = hostname.replace(/^\[|\]$/g, '')
  return isIP(bare) === 0 ? undefined : bare
}

/** The most origins that connections are kept to, and names that wait to be looked up. */
const maxOrigins = 1_000

/** Names that are looked up at the same time: the system's look-up takes one of the four threads that the whole process has. */
const lookupsAtOnce = 2

/**
 * Makes a resolver that asks the system, as everything else on the machine does. Two names are looked up at the same
 * time, further ones wait, and connections to the same name share a look-up: receivers whose name servers do not answer
 * leave room for everybody else.
 */
export function createSystemResolver(
  lookup: ResolveName = (hostname) => systemLookup(hostname, { all: true }),
): ResolveName {
  const turns = bulkhead(lookupsAtOnce, maxOrigins)
  const underWay = new Map<string, Promise<readonly Resolved[]>>()
  return (hostname) => {
    const known = underWay.get(hostname)
    if (known !== undefined) return known
    const looking = turns.execute(() => lookup(hostname)).finally(() => underWay.delete(hostname))
    underWay.set(hostname, looking)
    return looking
  }
}

/** What the way out consists of. */
export interface GuardedAgentParts {
  check: CheckAddress
  resolve: ResolveName
  /** Connections to one origin at the same time; further deliveries wait. Default: 64. */
  connectionsPerOrigin?: number
  /** Authorities to trust in place of the usual ones, PEM. */
  ca?: string
}

/** To establish a connection, TLS included, in milliseconds: frees what an attempt that gave up has left behind. */
const connectTimeoutMs = 10_000

/** Response headers beyond this many bytes are a fault. */
const maxHeaderBytes = 16 * 1024

/**
 * Makes the only way by which deliveries leave. A connection is made to an address that was checked, and to no other: a
 * name is looked up once for each connection, one address that must not be reached refuses them all, and the connection
 * goes to what was looked up, whatever the name points to a moment later. Certificates are verified against the name.
 * Connections are kept alive for a few seconds. It speaks HTTP/1.1.
 */
export function createGuardedAgent({
  check,
  resolve,
  connectionsPerOrigin = 64,
  ca,
}: GuardedAgentParts): Agent {
  return new Agent({
    connect: guardedConnector(check, resolve, ca),
    connections: connectionsPerOrigin,
    maxOrigins,
    maxHeaderSize: maxHeaderBytes,
    allowH2: false,
    // The attempt has a limit of its own, for all of it.
    headersTimeout: 0,
    bodyTimeout: 0,
  })
}

function guardedConnector(
  check: CheckAddress,
  resolve: ResolveName,
  ca: string | undefined,
): buildConnector.connector {
  const connectors = {
    'https:': connectorFor('https:', check, resolve, ca),
    'http:': connectorFor('http:', check, resolve, ca),
  }
  return (options, callback) => {
    const { protocol, hostname } = options
    // A connection to an address looks nothing up: this is the only place to check it.
    const problem = isWebProtocol(protocol)
      ? isIP(hostname) !== 0 && check(hostname, protocol)
      : `${protocol} is no protocol of the web`
    if (problem) queueMicrotask(() => callback(new AddressRefused(problem), null))
    else connectors[protocol as WebProtocol](options, callback)
  }
}

function connectorFor(
  protocol: WebProtocol,
  check: CheckAddress,
  resolve: ResolveName,
  ca: string | undefined,
): buildConnector.connector {
  return buildConnector({
    timeout: connectTimeoutMs,
    allowH2: false,
    lookup: guardedLookup(protocol, check, resolve),
    ...(ca !== undefined && { ca }),
  })
}

/** Gives net and tls the addresses to connect to, all of them checked. */
function guardedLookup(protocol: WebProtocol, check: CheckAddress, resolve: ResolveName): LookupFunction {
  return (hostname, { all }, callback) => {
    checkedAddresses(hostname, protocol, check, resolve).then(
      ([first, ...more]) => {
        if (all) callback(null, [first, ...more])
        else callback(null, first.address, first.family)
      },
      (error: Error) => callback(error, ''),
    )
  }
}

async function checkedAddresses(
  hostname: string,
  protocol: WebProtocol,
  check: CheckAddress,
  resolve: ResolveName,
): Promise<[Resolved, ...Resolved[]]> {
  const [first, ...more] = await resolve(hostname).catch((error: { code?: string }) => {
    throw new NameUnresolved(`${hostname} cannot be resolved: ${error.code ?? 'unknown'}`, { cause: error })
  })
  if (!first) throw new NameUnresolved(`${hostname} has no address`)
  for (const { address } of [first, ...more]) {
    const problem = check(address, protocol)
    if (problem) throw new AddressRefused(`${hostname}: ${problem}`)
  }
  return [first, ...more]
}
