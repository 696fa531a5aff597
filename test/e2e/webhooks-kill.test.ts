import { createHmac } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { Log } from '../../src/events/spool/log.ts'
import { type Gatepost, startGatepost } from '../support/gatepost.ts'
import { batchOf, makeEvent } from '../support/spool.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'
import { testSecret } from '../support/webhooks-rig.ts'

// `WEBHOOKS_KILL_EVENTS=10000 WEBHOOKS_KILL_TIMES=20` makes it a longer one; WEBHOOKS_KILL_SEED repeats one.
const events = Number(process.env['WEBHOOKS_KILL_EVENTS'] ?? 400)
const kills = Number(process.env['WEBHOOKS_KILL_TIMES'] ?? 3)
const seed = Number(process.env['WEBHOOKS_KILL_SEED'] ?? Date.now() % 2 ** 31)

/** How long deliveries may take between two kills, or after the last. */
const patienceMs = 30_000 + 30 * events
jest.setTimeout(60_000 + patienceMs + 20_000 * (kills + 1))

const token = 'a-token-that-nobody-guesses-and-that-is-long-enough'

/** Endpoints by what is asked of them, with the share of attempts that their receiver refuses. */
const hooks = {
  wide: { refused: 0, options: 'concurrency: 16' },
  ordered: { refused: 0.005, options: 'ordered: true' },
  flaky: { refused: 0.05, options: 'concurrency: 8' },
} as const
type Hook = keyof typeof hooks
const names = Object.keys(hooks) as Hook[]

/** What the receiver got and took, by endpoint: numbers of events in the order in which they came. */
const taken: Record<Hook, number[]> = { wide: [], ordered: [], flaky: [] }
const different: Record<Hook, Set<number>> = { wide: new Set(), ordered: new Set(), flaky: new Set() }
let forged = 0
let refused = 0

const random = createRandom(seed)
let server: Server
let folder: TempFolder
beforeAll(async () => {
  process.stderr.write(`kills at random moments: WEBHOOKS_KILL_SEED=${seed}\n`)
  folder = await tempFolder('webhooks-kill')
  server = createServer(async (request, response) => {
    const body = await buffer(request)
    const hook = request.url?.slice(1) as Hook
    const expected = `sha256=${createHmac('sha256', testSecret).update(body).digest('hex')}`
    if (request.headers['x-webhook-signature'] !== expected) forged += 1
    const isRefused = random() < hooks[hook].refused
    if (isRefused) refused += 1
    else take(hook, Number(request.headers['webhook-id']))
    // Some are under way whenever the end comes.
    setTimeout(() => response.writeHead(isRefused ? 503 : 200).end(), 5 * random())
  })
  server.listen(0, '127.0.0.1')
  await until(() => server.listening)
})
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  await folder.remove()
})

test('every event is delivered to every endpoint, and in order where that is asked, however often Gatepost is killed', async () => {
  const data = join(folder.path, 'data')
  await mkdir(data, { recursive: true })
  const file = join(folder.path, 'webhooks.yaml')
  await writeFile(file, webhooksFile((server.address() as AddressInfo).port))
  const bounds = Array.from({ length: kills + 2 }, (_, at) => Math.round((at * events) / (kills + 1)))

  for (let life = 0; life < kills; life++) {
    append(data, bounds[life] ?? 0, bounds[life + 1] ?? 0)
    const gatepost = await start(data, file)
    const enough = attempts() + 1 + Math.floor((random() * 2 * events) / (kills + 1))
    const last = bounds[life + 1] ?? 0
    await gatepost.process.until(() => attempts() >= enough || isAllTaken(last) || undefined, patienceMs)
    gatepost.process.signal('SIGKILL')
    await gatepost.stop()
  }
  append(data, bounds[kills] ?? 0, events)
  await using gatepost = await start(data, file)
  await gatepost.process.until(() => isAllTaken(events) || undefined, patienceMs)
  await gatepost.process.until(async () => (await pendingOf(gatepost)) === 0 || undefined, 60_000)

  const repeated = names.map((name) => taken[name].length - different[name].size)
  process.stderr.write(
    `${events} events to ${names.length} endpoints, ${kills} kills: repeated ${names.map((name, at) => `${name} ${repeated[at]}`).join(', ')}; refused ${refused}\n`,
  )
  expect(names.map((name) => different[name].size)).toEqual(names.map(() => events))
  expect(taken.ordered.filter((number, at) => number !== taken.ordered[at - 1])).toEqual(
    Array.from({ length: events }, (_, at) => at),
  )
  expect(forged).toBe(0)
  // What was under way at the kills, and no more than that.
  expect(repeated[names.indexOf('ordered')]).toBeLessThanOrEqual(kills)
  expect(repeated[names.indexOf('wide')]).toBeLessThanOrEqual(kills * 64)
  for (const status of ['failed', 'dropped']) {
    expect(await ask(gatepost, `/api/deliveries?status=${status}`)).toMatchObject({ deliveries: [] })
  }
})

function take(hook: Hook, number: number): void {
  taken[hook].push(number)
  different[hook].add(number)
}

function webhooksFile(port: number): string {
  const lines = names.flatMap((name) => [
    `  - id: ${name}`,
    `    url: http://127.0.0.1:${port}/${name}`,
    `    secret: ${testSecret}`,
    '    retry_policy: { max_retries: 20, backoff_seconds: 1 }',
    `    ${hooks[name].options}`,
  ])
  return ['webhooks:', ...lines, ''].join('\n')
}

/** Puts events into the log of a Gatepost that does not run, each with its number for an id. */
function append(data: string, from: number, to: number): void {
  const log = new Log(join(data, 'spool.db'), { maxBytes: 1e9, sync: 'normal', readers: ['webhooks'] })
  for (let at = from; at < to; at += 50) {
    const numbers = Array.from({ length: Math.min(50, to - at) }, (_, more) => at + more)
    log.append(batchOf(...numbers.map((number) => makeEvent('auth.failed', String(number)))), Date.now())
  }
  log.close()
}

function start(data: string, file: string): Promise<Gatepost> {
  return startGatepost({
    GATEPOST_AUTH: 'none',
    GATEPOST_ADMIN_TOKEN: token,
    GATEPOST_DATA_DIR: data,
    GATEPOST_EVENTS_LOG: '',
    GATEPOST_WEBHOOKS_FILE: file,
    GATEPOST_WEBHOOK_ALLOW_PRIVATE: 'true',
  })
}

function attempts(): number {
  return names.reduce((sum, name) => sum + taken[name].length, refused)
}

function isAllTaken(count: number): boolean {
  return names.every((name) => different[name].size === count)
}

async function pendingOf(gatepost: Gatepost): Promise<number> {
  const { webhooks } = (await ask(gatepost, '/api/webhooks')) as { webhooks: { pending: number }[] }
  return webhooks.reduce((sum, { pending }) => sum + pending, 0)
}

async function ask({ adminAddress }: Gatepost, path: string): Promise<unknown> {
  const response = await fetch(`http://${adminAddress}${path}`, {
    headers: { authorization: `Bearer ${token}` },
  })
  return response.json()
}

/** Numbers from 0 to below 1 that a seed brings back (mulberry32). */
function createRandom(from: number): () => number {
  let state = from
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
