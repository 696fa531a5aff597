import { createSocket, type Socket } from 'node:dgram'
import { Resolver } from 'node:dns/promises'
import { once } from 'node:events'
import { isIPv4 } from 'node:net'
import type { ResolveName } from '../../src/webhooks/guard.ts'

/** The addresses of a name, IPv4 and IPv6 mixed; `lookup` counts from 1 how often it was asked for, over both. */
export type Zone = (name: string, lookup: number) => readonly string[]

/** A real DNS server on loopback that answers by a zone of the test's own. */
export class DnsServer implements AsyncDisposable {
  /** Names asked for, once for each look-up of all their addresses. */
  readonly asked: string[] = []
  /** Looks a name up there, IPv4 and IPv6. */
  readonly resolve: ResolveName
  readonly #socket: Socket

  constructor(socket: Socket, zone: Zone) {
    this.#socket = socket
    const resolver = new Resolver({ tries: 1 })
    resolver.setServers([`127.0.0.1:${socket.address().port}`])
    let addresses: readonly string[] = []
    socket.on('message', (query, { address, port }) => {
      const { name, type, end } = questionOf(query)
      // Both families of one look-up get the answer of the same moment.
      if (type === typeA) {
        this.asked.push(name)
        addresses = zone(name, this.asked.filter((other) => other === name).length)
      }
      const fitting = addresses.filter((text) => isIPv4(text) === (type === typeA))
      socket.send(answerTo(query.subarray(0, end), type, fitting), port, address)
    })
    this.resolve = async (hostname) => {
      const v4 = await resolver.resolve4(hostname).catch(none)
      const v6 = await resolver.resolve6(hostname).catch(none)
      return [
        ...v4.map((address) => ({ address, family: 4 })),
        ...v6.map((address) => ({ address, family: 6 })),
      ]
    }
  }

  async stop(): Promise<void> {
    const closed = once(this.#socket, 'close')
    this.#socket.close()
    await closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

/** Starts a server on a free port. */
export async function startDnsServer(zone: Zone): Promise<DnsServer> {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return new DnsServer(socket, zone)
}

function none(error: { code?: string }): string[] {
  if (error.code === 'ENODATA') return []
  throw error
}

const typeA = 1
const headerBytes = 12

/** RFC 1035 §4.1.2. @returns where the question ends, too. */
function questionOf(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = []
  let at = headerBytes
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 }
}

/** RFC 1035 §4.1.3, with a time to live of nothing. */
function answerTo(question: Buffer, type: number, addresses: readonly string[]): Buffer {
  const header = Buffer.from(question.subarray(0, headerBytes))
  header.writeUInt16BE(0x8580, 2)
  header.writeUInt16BE(addresses.length, 6)
  header.writeUInt32BE(0, 8)
  const records = addresses.map((text) => {
    const address = bytesOf(text)
    return Buffer.concat([
      Buffer.of(0xc0, headerBytes, 0, type, 0, 1, 0, 0, 0, 0, 0, address.length),
      address,
    ])
  })
  return Buffer.concat([header, question.subarray(headerBytes), ...records])
}

function bytesOf(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  const [before = '', after] = address.split('::')
  const groups = (text: string) => (text === '' ? [] : text.split(':'))
  const tail = groups(after ?? '')
  const head = groups(before)
  const all = [...head, ...Array<string>(8 - head.length - tail.length).fill('0'), ...tail]
  return Buffer.from(
    all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255]),
  )
}
