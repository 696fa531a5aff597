import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { type AmqpUrl, parseAmqpUrl } from '../../src/core/amqp-url.ts'
import { connectAmqp, connectionLimits } from '../../src/outward/amqp-connection.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { createLogLines } from '../support/log-lines.ts'
import { listen } from '../support/ports.ts'

/** A server that takes connections and never says a word. */
let server: Server
let address: string
const sockets: Socket[] = []
let clock: FakeClock
beforeEach(async () => {
  server = createServer((socket) => sockets.push(socket))
  address = `127.0.0.1:${await listen(server)}`
  clock = new FakeClock()
})
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
  server.close()
})

function urlOf(text: string): AmqpUrl {
  const url = parseAmqpUrl(text)
  if (!url) throw new Error(text)
  return url
}

function connect(text: string, signal: AbortSignal) {
  const { logger } = createLogLines()
  return connectAmqp(urlOf(text), async () => 'prepared', connectionLimits, { clock, logger }, signal)
}

/** A socket of the server, and its end. */
async function accepted(): Promise<{ ended: Promise<unknown> }> {
  const [socket] = (await once(server, 'connection')) as [Socket]
  socket.resume()
  return { ended: once(socket, 'close') }
}

test.each(['amqp', 'amqps'])(
  '%s to a server that never answers is given up in time, socket and all',
  async (scheme) => {
    const socket = accepted()
    const connecting = connect(`${scheme}://${address}`, new AbortController().signal)
    const { ended } = await socket
    const failure = expect(connecting).rejects.toThrow('no answer within 10000 ms')

    await clock.advance(connectionLimits.connectMs)

    await failure
    await ended
  },
)

test('connecting that is called off ends its socket', async () => {
  const callOff = new AbortController()
  const reason = new Error('enough')
  const socket = accepted()
  const connecting = connect(`amqp://${address}`, callOff.signal)
  const { ended } = await socket

  callOff.abort(reason)

  await expect(connecting).rejects.toBe(reason)
  await ended
  expect(clock.pending).toEqual([])
})

test('a file for TLS that cannot be read is named', async () => {
  const connecting = connect(`amqps://${address}?cacertfile=/nowhere/ca.pem`, new AbortController().signal)

  await expect(connecting).rejects.toThrow('/nowhere/ca.pem')
})
