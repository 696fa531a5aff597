import { isIPv6 } from 'node:net'
import { keyPartsForm, parseKeyParts } from '../core/key-parts.ts'
import type { KeyPart } from '../core/limits.ts'
import type { ListenAddress, TcpAddress } from '../core/listen.ts'
import { parseRate, type Rate, rateForm } from '../core/rates.ts'
import { isScope, splitList } from '../core/routes.ts'

/** Reads the text of one setting. It throws an {@link Unfit} that says what would do. */
export type Parser<T> = (text: string) => T

/** Why a text does not do; its message completes the sentence "it must be …". */
export class Unfit extends Error {}

/** Any text. */
export function text(value: string): string {
  return value
}

/** `true` or `false`. */
export function boolean(value: string): boolean {
  if (value !== 'true' && value !== 'false') throw new Unfit('true or false')
  return value === 'true'
}

/** One of a few words. */
export function choice<const T extends string>(...words: readonly T[]): Parser<T> {
  return (value) => {
    const word = words.find((known) => known === value)
    if (word === undefined) throw new Unfit(`one of ${words.join(', ')}`)
    return word
  }
}

/** Some of a few words, by commas, each at most once; none of them is fine. */
export function choices<const T extends string>(...words: readonly T[]): Parser<readonly T[]> {
  const one = choice(...words)
  return (value) => {
    try {
      return [...new Set(splitList(value).map(one))]
    } catch {
      throw new Unfit(`some of ${words.join(', ')}, by commas`)
    }
  }
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** A duration such as `250ms`, `10s`, `1m` or `1h`, between two bounds; in milliseconds. */
export function durationMs(leastMs: number, mostMs: number): Parser<number> {
  return (value) => {
    const [, digits, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(value) ?? []
    const ms = Number(digits) * (unitMs[unit ?? ''] ?? Number.NaN)
    if (ms >= leastMs && ms <= mostMs) return ms
    throw new Unfit(
      `a duration from ${showDuration(leastMs)} to ${showDuration(mostMs)}, such as 250ms, 10s or 1m`,
    )
  }
}

function showDuration(ms: number): string {
  const unit = ['h', 'm', 's'].find((name) => ms > 0 && ms % (unitMs[name] ?? 1) === 0) ?? 'ms'
  return ms === 0 ? '0s' : `${ms / (unitMs[unit] ?? 1)}${unit}`
}

const unitBytes: Readonly<Record<string, number>> = { KiB: 1_024, MiB: 1_024 ** 2, GiB: 1_024 ** 3 }

/** A size such as `64KiB`, `256MiB` or `2GiB`, between two bounds; in bytes. */
export function sizeBytes(leastBytes: number, mostBytes: number): Parser<number> {
  return (value) => {
    const [, digits, unit] = /^(\d{1,9})(KiB|MiB|GiB)$/.exec(value) ?? []
    const bytes = Number(digits) * (unitBytes[unit ?? ''] ?? Number.NaN)
    if (bytes >= leastBytes && bytes <= mostBytes) return bytes
    throw new Unfit(`a size from ${showSize(leastBytes)} to ${showSize(mostBytes)}, such as 64MiB or 2GiB`)
  }
}

function showSize(bytes: number): string {
  const unit = ['GiB', 'MiB'].find((name) => bytes % (unitBytes[name] ?? 1) === 0) ?? 'KiB'
  return `${bytes / (unitBytes[unit] ?? 1)}${unit}`
}

/** Scopes, by commas. */
export function scopes(value: string): readonly string[] {
  const list = splitList(value)
  const bad = list.find((scope) => !isScope(scope))
  if (bad !== undefined) throw new Unfit(`a list of scopes by commas, and ${JSON.stringify(bad)} is none`)
  return list
}

/** A list by commas with at least one entry. */
export function list(value: string): readonly string[] {
  const entries = splitList(value)
  if (entries.length === 0) throw new Unfit('a list by commas')
  return entries
}

/** The audiences that a token may be meant for, by commas; `*` alone leaves the audience unchecked. */
export function audiences(value: string): readonly string[] | 'any' {
  const list = splitList(value)
  if (list.length === 1 && list[0] === '*') return 'any'
  if (list.length === 0 || list.includes('*'))
    throw new Unfit('a list of audiences by commas, or * alone for any')
  return list
}

/** A file mode in octal. */
export function fileMode(value: string): number {
  if (!/^0?[0-7]{3}$/.test(value)) throw new Unfit('a file mode in octal, such as 0660')
  return Number.parseInt(value, 8)
}

/** `host:port`, with the host of IPv6 in brackets. */
export function tcpAddress(value: string): TcpAddress {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:/\s[\]]+)):(\d{1,5})$/.exec(value) ?? []
  const host = isIPv6(bracketed ?? '') ? bracketed : plain
  const port = Number(digits)
  if (host === undefined || port > 65_535) throw new Unfit('host:port, such as 127.0.0.1:9001 or [::1]:9001')
  return { kind: 'tcp', host, port }
}

// The kernel's sun_path holds 108 bytes with the ending zero.
const maxSocketPathBytes = 107

/** `host:port` or `unix:/path`. */
export function listenAddress(value: string): ListenAddress {
  if (!value.startsWith('unix:')) return tcpAddress(value)
  const path = value.slice('unix:'.length).replace(/^\/\/(?=\/)/, '')
  // `unix://run/x.sock` would be the socket /x.sock of a host "run".
  const isAbsolute = /^\/(?!\/)/.test(path)
  if (isAbsolute && Buffer.byteLength(path) <= maxSocketPathBytes) return { kind: 'unix', path }
  throw new Unfit(`unix: and an absolute path of at most ${maxSocketPathBytes} bytes`)
}

/** Whether a host name or address can only be reached from this machine. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '')
  return bare === 'localhost' || bare === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(bare)
}

/** A domain such as `tenant.eu.auth0.com`, or an origin with its scheme; gives the origin. */
export function origin(value: string): string {
  const url = URL.parse(value.includes('://') ? value : `https://${value}`)
  if (url && isHttp(url) && isBare(url) && url.pathname === '/') return url.origin
  throw new Unfit('a domain such as tenant.eu.auth0.com, without a path')
}

/** The exact name of an issuer: a URL without query and fragment (OpenID Connect Discovery 1.0 §3). */
export function issuerUrl(value: string): string {
  const url = URL.parse(value)
  if (url && isHttp(url) && isBare(url)) return value
  throw new Unfit('the issuer exactly as tokens name it, such as https://login.example.com/')
}

function isHttp(url: URL): boolean {
  return url.protocol === 'https:' || url.protocol === 'http:'
}

function isBare(url: URL): boolean {
  return (
    url.username === '' && url.password === '' && url.search === '' && url.hash === '' && url.hostname !== ''
  )
}

/** One segment of a URL's path. */
export function pathSegment(value: string): string {
  if (!/^[A-Za-z0-9._~-]{1,100}$/.test(value)) throw new Unfit('one path segment, such as default')
  return value
}

/** A secret of at least 16 characters without blanks. */
export function longSecret(value: string): string {
  if (!/^\S{16,}$/.test(value)) throw new Unfit('at least 16 characters without blanks')
  return value
}

/** A header's name, lower-cased. */
export function headerName(value: string): string {
  const name = value.toLowerCase()
  if (!/^[a-z0-9-]{1,64}$/.test(name) || name === 'authorization')
    throw new Unfit('a header name such as x-api-key, not authorization')
  return name
}

/** A client's secret. Okta's API tokens (42 characters from 00 on) are told apart, for people mistake them for one. */
export function clientSecret(value: string): string {
  if (/^00[A-Za-z0-9_-]{40}$/.test(value)) {
    throw new Unfit(
      'the secret of an OAuth client, and this looks like an Okta API token, which cannot introspect',
    )
  }
  if (!/^\S+$/.test(value)) throw new Unfit('the secret of an OAuth client, without blanks')
  return value
}

/** A rate, or `none`. */
export function rateOrNone(value: string): Rate | 'none' {
  if (value === 'none') return 'none'
  const rate = parseRate(value)
  if (!rate) throw new Unfit(`${rateForm}, or none`)
  return rate
}

/** What a limit counts by. */
export function keyParts(value: string): readonly KeyPart[] {
  const parts = parseKeyParts(value)
  if (!parts) throw new Unfit(keyPartsForm)
  return parts
}
