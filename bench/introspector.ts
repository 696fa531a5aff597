import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'

/**
 * A provider that does nothing but introspect (RFC 7662), in a process of its own: tokens that begin with `good` are
 * active. `GET /counts` tells how often it was asked, and by how many at once at the most. Prints its port.
 */
const audience = 'https://api.example.com'
const counts = { introspections: 0, mostAtOnce: 0 }
let atOnce = 0

const server = createServer(async (request, response) => {
  response.setHeader('content-type', 'application/json')
  if (request.method === 'GET') {
    response.end(JSON.stringify(counts))
    return
  }
  atOnce += 1
  counts.introspections += 1
  counts.mostAtOnce = Math.max(counts.mostAtOnce, atOnce)
  const token = new URLSearchParams(await text(request)).get('token') ?? ''
  const active = token.startsWith('good')
  response.end(
    JSON.stringify(active ? { active, sub: token, aud: audience, token_type: 'Bearer' } : { active }),
  )
  atOnce -= 1
})

server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.stdout.write(`${typeof address === 'object' ? address?.port : ''}\n`)
})
