import { createServer } from 'node:http'
import { expect, test } from '@jest/globals'
import { probeOfReadiness } from '../src/probes.ts'
import { freePort, listen } from './support/ports.ts'

/** Runs the probe of a container's health check against a port of loopback. */
function probe(port: number) {
  return probeOfReadiness({ admin: { address: { kind: 'tcp', host: '127.0.0.1', port } } }).run()
}

test.each([
  [200, 'ready', 'ok'],
  [503, 'not ready', 'failed'],
])('a gatepost that answers %i is %s: the health check is %s', async (code, status, outcome) => {
  const server = createServer((_request, response) =>
    response.writeHead(code).end(JSON.stringify({ status })),
  )
  const port = await listen(server)

  const result = await probe(port)
  server.close()

  expect(result).toEqual({ outcome, detail: expect.stringContaining(`${status} on 127.0.0.1:${port}`) })
})

test('where no gatepost runs the health check has failed, which is but a note to the check before a start', async () => {
  const port = await freePort()

  expect(await probe(port)).toEqual({ outcome: 'failed', detail: `none runs on 127.0.0.1:${port}` })
})
