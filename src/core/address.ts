/** Well-known prefixes whose last 32 bits are an IPv4 address: mapped (RFC 4291 §2.5.5.2), NAT64 (RFC 6052 §2.1). */
const embeddings = ['0:0:0:0:0:ffff', '64:ff9b:0:0:0:0']

/**
 * The network that counts as one client: an IPv4 address itself, the /64 of an IPv6 address, since one host has all of
 * it to choose from. An IPv4 address within an IPv6 one counts as the former. What is no IP address is left as it is.
 */
export function addressNetwork(address: string): string {
  const groups = parseIpv6(address)
  if (!groups) return address
  const hex = groups.map((group) => group.toString(16))
  if (embeddings.includes(hex.slice(0, 6).join(':'))) return ipv4Of(groups)
  return `${hex.slice(0, 4).join(':')}::/64`
}

function ipv4Of(groups: readonly number[]): string {
  return groups
    .slice(6)
    .flatMap((group) => [group >> 8, group & 255])
    .join('.')
}

/** Eight groups of sixteen bits (RFC 4291 §2.2), a zone left out (RFC 4007 §11); undefined for any other text. */
function parseIpv6(text: string): number[] | undefined {
  const [address = ''] = text.split('%', 1)
  if (!address.includes(':')) return undefined
  const [before, after, ...more] = address.split('::')
  if (before === undefined || more.length > 0) return undefined
  const head = groupsOf(before)
  const tail = after === undefined ? [] : groupsOf(after)
  if (!(head && tail)) return undefined
  const missing = 8 - head.length - tail.length
  if (after === undefined ? missing !== 0 : missing < 1) return undefined
  return [...head, ...Array<number>(missing).fill(0), ...tail]
}

function groupsOf(text: string): number[] | undefined {
  if (text === '') return []
  const groups = text.split(':').flatMap(groupOf)
  return groups.some(Number.isNaN) ? undefined : groups
}

/** One group, or the two of an IPv4 address, which may stand last; NaN for any other text. */
function groupOf(text: string, at: number, all: readonly string[]): number[] {
  if (/^[0-9a-f]{1,4}$/i.test(text)) return [Number.parseInt(text, 16)]
  const bytes = at === all.length - 1 ? text.split('.').map(byteOf) : []
  const [a = 0, b = 0, c = 0, d = 0] = bytes
  return bytes.length === 4 ? [a * 256 + b, c * 256 + d] : [Number.NaN]
}

function byteOf(text: string): number {
  return /^(0|[1-9]\d{0,2})$/.test(text) && Number(text) < 256 ? Number(text) : Number.NaN
}
