/**
 * Receives Gatepost's webhooks without any library: prints what is signed by the secret, refuses the rest.
 *
 *     WEBHOOK_SECRET=whsec_… node examples/webhooks/receiver.ts
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'
import { buffer } from 'node:stream/consumers'

const { WEBHOOK_SECRET: secret, PORT: port = '8090' } = process.env
if (!secret) throw new Error('Set WEBHOOK_SECRET: gatepost webhooks add has shown it')

createServer(async (request, response) => {
  const body = await buffer(request)
  const expected = Buffer.from(`sha256=${createHmac('sha256', secret).update(body).digest('hex')}`)
  const shown = Buffer.from(String(request.headers['x-webhook-signature']))
  const isOurs = shown.length === expected.length && timingSafeEqual(shown, expected)
  if (isOurs) console.log(String(body))
  response.writeHead(isOurs ? 204 : 401).end()
}).listen(Number(port), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${port}/`))
