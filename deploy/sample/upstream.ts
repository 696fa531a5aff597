import { createServer } from 'node:http'

/**
 * A sample upstream: answers every request with what it received, as JSON.
 * Usage: node upstream.ts NAME HOST:PORT
 */
const [name = 'upstream', address = '0.0.0.0:8081'] = process.argv.slice(2)
const { hostname, port } = new URL(`http://${address}`)

const server = createServer((request, response) => {
  const { method, url: path, headers } = request
  request.resume()
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end(`${JSON.stringify({ upstream: name, method, path, headers }, null, 2)}\n`)
})
server.listen(Number(port), hostname)

// Process 1 of a container gets no default for a signal.
process.on('SIGTERM', () => process.exit(0))
