import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { bodyOf, headersOf } from '../../src/webhooks/message.ts'
import { parseLogLine } from '../support/gatepost.ts'
import { freePort } from '../support/ports.ts'
import { RunningProcess } from '../support/process.ts'
import { tempFolder } from '../support/temp.ts'

// Each step starts processes by npm, on machines that may be busy.
jest.setTimeout(120_000)

const root = fileURLToPath(new URL('../..', import.meta.url))
const limitMs = 60_000

const opened = new AsyncDisposableStack()
let env: NodeJS.ProcessEnv
let port: number
beforeAll(async () => {
  const folder = opened.use(await tempFolder('tour'))
  port = await freePort()
  const mine = Object.entries(process.env).filter(([name]) => !name.startsWith('GATEPOST_'))
  env = {
    ...Object.fromEntries(mine),
    GATEPOST_GRPC_ADDRESS: `127.0.0.1:${await freePort()}`,
    GATEPOST_ADMIN_ADDRESS: `127.0.0.1:${await freePort()}`,
    GATEPOST_DATA_DIR: folder.path,
    PORT: String(port),
  }
})
afterAll(() => opened.disposeAsync())

/** Runs a text of the shell in the checkout; only the receiver's port is another one. */
function shell(name: string, script: string): RunningProcess {
  const args = ['-c', script.replaceAll('8090', String(port))]
  return opened.use(new RunningProcess({ name, command: '/bin/sh', args, cwd: root, env }))
}

/** Runs a command to its end. @returns its output. */
async function run(command: string): Promise<string> {
  const running = shell(command, command)
  expect([command, await running.ended, running.lines]).toEqual([command, 'exit code 0', running.lines])
  return running.lines.join('\n')
}

/** The blocks of the tour in the README, each as its lines. */
function tour(): string[][] {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const [, section = ''] = /\n### Webhooks\n(.*?)\n### /s.exec(readme) ?? []
  return [...section.matchAll(/```sh\n(.*?)\n```/gs)].map(([, block = '']) => block.split('\n'))
}

test('the tour of webhooks in the README works as it is written', async () => {
  const [serve = [], receive = [], deliver = [], miss = [], replay = []] = tour()
  const gatepost = shell('Gatepost', serve.join('\n'))
  await gatepost.line((line) => parseLogLine(line)?.message === 'ready', limitMs)

  const [add = '', startReceiver = ''] = receive
  const added = await run(add)
  const [secret = ''] = /whsec_\S+/.exec(added) ?? []
  const listen = async () => {
    const receiver = shell('the receiver', startReceiver.replace('whsec_…', secret))
    await receiver.line((line) => line.startsWith('listening on'), limitMs)
    return receiver
  }
  const receiver = await listen()

  const [tested = '', opens = '', lists = ''] = deliver
  expect(await run(tested)).toContain('delivered: tour answered 204')
  await run(opens)
  for (const event of ['webhook.test', 'circuit_breaker.opened']) {
    await receiver.line((line) => line.startsWith(`{"event":"${event}"`), limitMs)
  }
  await gatepost.until(
    async () => /circuit_breaker\.opened +delivered/.test(await run(lists)) || undefined,
    limitMs,
  )

  await receiver.stop()
  const [clears = '', listsFailed = ''] = miss
  await run(clears)
  await gatepost.until(
    async () => /circuit_breaker\.closed +failed +1 +connection/.test(await run(listsFailed)) || undefined,
    limitMs,
  )

  const again = await listen()
  const [replays = ''] = replay
  expect(await run(replays)).toContain('1 delivery is delivered once more')
  await again.line((line) => line.startsWith('{"event":"circuit_breaker.closed"'), limitMs)

  expect(secret).toMatch(/^whsec_/)
  expect(tour().flat()).toHaveLength(11)
})

describe.each(['receiver', 'standard'])('examples/webhooks/%s.ts', (name) => {
  const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
  const other = `whsec_${Buffer.alloc(32).toString('base64')}`
  const timestamp = '2030-01-31T12:00:00Z'
  const body = bodyOf({ event_type: 'auth.failed', timestamp, data: {} })
  let ids = 0
  const signedBy = (...secrets: string[]) => {
    ids += 1
    const inForce = secrets.map((value) => ({ value: () => value }))
    return headersOf({ headers: {}, secrets: inForce }, `e${ids}`, body, Date.now())
  }

  let receiver: RunningProcess
  let url: string
  beforeAll(async () => {
    const ownPort = await freePort()
    url = `http://127.0.0.1:${ownPort}/`
    receiver = opened.use(
      new RunningProcess({
        name,
        command: process.execPath,
        args: [`examples/webhooks/${name}.ts`],
        cwd: root,
        env: { PATH: process.env['PATH'], PORT: String(ownPort), WEBHOOK_SECRET: secret },
      }),
    )
    await receiver.line((line) => line.startsWith('listening on'), limitMs)
  })

  async function send(headers: Record<string, string>, sent: Buffer): Promise<number> {
    const { status } = await fetch(url, { method: 'POST', headers, body: Uint8Array.from(sent) })
    return status
  }

  /** Sends what is good, and waits until it is printed. @returns what was printed since. */
  async function takes(headers: Record<string, string>, since = receiver.lines.length): Promise<string[]> {
    expect(await send(headers, body)).toBe(204)
    await receiver.until(() => receiver.lines.length > since || undefined, limitMs)
    return receiver.lines.slice(since)
  }

  test('takes what is signed by its secret, and prints it', async () => {
    expect(await takes(signedBy(secret))).toEqual([String(body)])
  })

  test('takes what is signed by its secret while that is being rotated away', async () => {
    expect(await takes(signedBy(other, secret))).toEqual([String(body)])
  })

  test.each([
    [
      'of which a byte was changed',
      () => send(signedBy(secret), Buffer.from(String(body).replace('30', '31'))),
    ],
    ['that another secret has signed', () => send(signedBy(other), body)],
    ['that nobody has signed', () => send({}, body)],
  ])('refuses one %s', async (_what, sending) => {
    const since = receiver.lines.length

    expect(await sending()).toBe(401)

    // What comes after it is printed after it: it alone is.
    expect(await takes(signedBy(secret), since)).toEqual([String(body)])
  })
})
