import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'
import { afterEach, describe, expect, test } from '@jest/globals'
import { createFetchJson } from '../../src/outward/fetch-json.ts'
import { outwardWithin } from '../support/outward.ts'
import { freePort, listen } from '../support/ports.ts'

const patient = createFetchJson({ maxBytes: 512 * 1024 }, outwardWithin(10_000))
const hasty = createFetchJson({ maxBytes: 512 * 1024 }, outwardWithin(100))

const servers: Server[] = []

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }
})

/** Starts a server that answers as told. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer)
  servers.push(server)
  return `http://127.0.0.1:${await listen(server)}/keys`
}

test('reads a JSON document, and asks for one that is not compressed', async () => {
  const asked: IncomingMessage['headers'][] = []
  const url = await serve((request, response) => {
    asked.push(request.headers)
    response.end('{"keys":[]}')
  })

  expect(await patient(url)).toEqual({ keys: [] })
  expect(asked).toMatchObject([
    { accept: 'application/json, application/jwk-set+json', 'accept-encoding': 'identity' },
  ])
})

test('a body of exactly the most bytes is read, one byte more is not', async () => {
  const small = createFetchJson({ maxBytes: 16 }, outwardWithin(10_000))
  const exact = await serve((_request, response) => response.end('{"keys":"12345"}'))
  const larger = await serve((_request, response) => response.end('{"keys":"123456"}'))

  expect(await small(exact)).toEqual({ keys: '12345' })
  await expect(small(larger)).rejects.toThrow(`Cannot fetch ${larger}: more than 16 bytes`)
})

test('a redirect is not followed', async () => {
  let followed = 0
  const elsewhere = await serve((_request, response) => {
    followed += 1
    response.end('{"keys":[]}')
  })
  const url = await serve((_request, response) => response.writeHead(302, { location: elsewhere }).end())

  await expect(patient(url)).rejects.toThrow(`Cannot fetch ${url}: status 302`)
  expect(followed).toBe(0)
})

test.each([201, 204, 304, 404, 500, 503])('status %i is a failure whatever the body says', async (status) => {
  const url = await serve((_request, response) => response.writeHead(status).end('{"keys":[]}'))

  await expect(patient(url)).rejects.toThrow(`Cannot fetch ${url}: status ${status}`)
})

test.each([
  ['garbage', '<html>not here</html>'],
  ['empty', ''],
  ['cut off', '{"keys":['],
])('a body that is %s is no JSON', async (_what, body) => {
  const url = await serve((_request, response) => response.end(body))

  await expect(patient(url)).rejects.toThrow(`Cannot fetch ${url}: the answer is not JSON`)
})

describe('a body that is too large', () => {
  const tenMegabytes = 10 * 1024 * 1024

  test.each([
    ['announced', { 'content-length': String(tenMegabytes) }],
    ['not announced', {}],
  ])('and %s is dropped, and the connection with it', async (_how, headers) => {
    let sent = 0
    const { promise: dropped, resolve } = Promise.withResolvers<boolean>()
    const url = await serve((_request, response) => {
      response.writeHead(200, headers)
      response.on('close', () => resolve(!response.writableFinished))
      const chunk = Buffer.alloc(64 * 1024, ' ')
      const send = () => {
        while (sent < tenMegabytes && !response.destroyed) {
          sent += chunk.length
          if (!response.write(chunk)) return response.once('drain', send)
        }
        return response.end()
      }
      send()
    })

    await expect(patient(url)).rejects.toThrow(`Cannot fetch ${url}: more than 524288 bytes`)
    expect(await dropped).toBe(true)
    expect(sent).toBeLessThan(tenMegabytes)
  })

  test('once unpacked is never unpacked: nobody asked for compression', async () => {
    const packed = gzipSync(Buffer.alloc(tenMegabytes, ' '))
    const url = await serve((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(packed)
    })

    expect(packed.length).toBeLessThan(512 * 1024)
    await expect(patient(url)).rejects.toThrow(`Cannot fetch ${url}: the answer is not JSON`)
  })
})

describe('an answer that is too slow', () => {
  test('to begin is given up', async () => {
    const url = await serve(() => undefined)

    await expect(hasty(url)).rejects.toThrow(`Cannot fetch ${url}: no answer within 100 ms`)
  })

  test('to end is given up: a byte now and then does not win more time', async () => {
    const { promise: dropped, resolve } = Promise.withResolvers<void>()
    const url = await serve((_request, response) => {
      response.writeHead(200)
      const drip = setInterval(() => response.write(' '), 5)
      response.on('close', () => {
        clearInterval(drip)
        resolve()
      })
    })

    await expect(hasty(url)).rejects.toThrow(`Cannot fetch ${url}: no answer within 100 ms`)
    await dropped
  })
})

describe('a connection that fails', () => {
  test('to open says so', async () => {
    const url = `http://127.0.0.1:${await freePort()}/keys`

    await expect(patient(url)).rejects.toThrow(`Cannot fetch ${url}: ECONNREFUSED`)
  })

  test('before the answer is a failure', async () => {
    const url = await serve((request) => request.socket.destroy())

    await expect(patient(url)).rejects.toThrow(`Cannot fetch ${url}: `)
  })

  test('in the midst of the body is a failure, and what came is not used', async () => {
    const url = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': '100' })
      response.write('{"keys":[]}', () => response.destroy())
    })

    await expect(patient(url)).rejects.toThrow(`Cannot fetch ${url}: `)
  })

  test('keeps its cause for the log', async () => {
    const url = await serve((_request, response) => response.writeHead(404).end())

    await expect(patient(url)).rejects.toMatchObject({ cause: { message: 'status 404' } })
  })
})

test('what is no URL is a failure that names it', async () => {
  await expect(patient('not a url')).rejects.toThrow('Cannot fetch not a url: ')
})
