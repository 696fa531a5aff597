import { Agent, request as httpRequest } from 'node:http'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { setRole } from '../support/forgery.ts'
import { type Rig, startRig } from '../support/rig.ts'

const START_MS = 300_000
const LOAD_MS = 120_000
/** Node takes a thousand resets on one connection for an attack, unless told otherwise: this is far beyond. */
const requests = 6_000
const connections = 50

const rigs = new Map<string, Rig>()
beforeAll(async () => {
  const [pair, alone] = await Promise.all([
    startRig({ config: 'ext-proc' }),
    startRig({
      config: 'ext-proc',
      env: { GATEPOST_OBSERVER: 'ext-proc' },
      adjust: (config) => setRole(config, 'ingress', 'decide,observe'),
    }),
  ])
  rigs.set('decides', pair)
  rigs.set('decides and observes', alone)
}, START_MS)
afterAll(async () => {
  for (const rig of rigs.values()) await rig[Symbol.asyncDispose]()
})

/** Sends a GET on one of the agent's connections. @returns the status. */
function get(agent: Agent, origin: string, path: string, headers: Record<string, string>): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const request = httpRequest(origin, { agent, path, headers }, (response) => {
    response.resume()
    response.once('end', () => resolve(response.statusCode ?? 0))
    response.once('error', reject)
  })
  request.once('error', reject)
  request.end()
  return promise
}

/** Sends so many requests, one after the other on each connection. @returns how often each status came. */
async function load(origin: string, path: string, headers: Record<string, string>) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections })
  const statuses: Record<string, number> = {}
  let left = requests
  async function sendUntilNoneIsLeft(): Promise<void> {
    while (left > 0) {
      left -= 1
      const status = await get(agent, origin, path, headers).catch(
        (error: NodeJS.ErrnoException) => error.code,
      )
      const name = String(status)
      statuses[name] = (statuses[name] ?? 0) + 1
    }
  }
  await Promise.all(Array.from({ length: connections }, sendUntilNoneIsLeft))
  agent.destroy()
  return statuses
}

test.each(['decides', 'decides and observes'])(
  `of ${requests} requests through an ext_proc filter that %s none fails, and each is told of once`,
  async (role) => {
    const rig = rigs.get(role) as Rig
    const authorization = `Bearer ${rig.provider.signToken({ sub: 'alice', scope: 'read:orders' })}`

    const statuses = await load(`http://${rig.envoy.listeners['ingress']}`, '/orders', { authorization })

    expect(statuses).toEqual({ 200: requests })
    const events = await rig.completed('/orders')
    expect(events).toHaveLength(requests)
    expect(new Set(events.map(({ data }) => `${data.status_code} ${data.decision} ${data.user_id}`))).toEqual(
      new Set(['200 allow alice']),
    )
  },
  LOAD_MS,
)
