/**
 * The same with a library of Standard Webhooks, which also refuses what is older than five minutes. What a receiver must
 * not do twice it remembers by `webhook-id`: a delivery may come again.
 *
 *     WEBHOOK_SECRET=whsec_… node examples/webhooks/standard.ts
 */
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'

const { WEBHOOK_SECRET: secret = '', PORT: port = '8090' } = process.env
const webhook = new Webhook(secret)

/** The ids of the last deliveries that were done. */
const done = new Set<string>()
const remembered = 10_000

createServer(async (request, response) => {
  const headers = request.headers as Record<string, string>
  const id = String(headers['webhook-id'])
  try {
    const event = webhook.verify(await text(request), headers)
    if (!done.has(id)) console.log(JSON.stringify(event))
    done.add(id)
    if (done.size > remembered) done.delete(String(done.values().next().value))
    response.writeHead(204).end()
  } catch {
    response.writeHead(401).end()
  }
}).listen(Number(port), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${port}/`))
