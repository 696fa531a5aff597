import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { Agent } from 'undici'
import { type AttemptResult, createSender } from '../../src/webhooks/attempt.ts'
import {
  addressKind,
  type CheckAddress,
  checkByRules,
  createGuardedAgent,
  createSystemResolver,
  type Resolved,
  type ResolveName,
  urlProblem,
} from '../../src/webhooks/guard.ts'
import { startDnsServer } from '../support/dns-server.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type Receiver, startReceiver } from '../support/receiver.ts'
import { until } from '../support/until.ts'

const strict = checkByRules({ allowPrivate: false, allowPlaintext: true })
const resolveBySystem = createSystemResolver()
const open = checkByRules({ allowPrivate: true, allowPlaintext: true })

let receiver: Receiver
const agents: Agent[] = []
beforeEach(async () => {
  receiver = await startReceiver()
})
afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.destroy()))
  await receiver.stop()
})

/** Makes a sender of its own connections. */
function senderBy(check: CheckAddress, resolve: ResolveName, checkUrl: CheckAddress = check) {
  const dispatcher = createGuardedAgent({ check, resolve })
  agents.push(dispatcher)
  const send = createSender({ dispatcher, check: checkUrl, clock: new FakeClock(), monotonicMs: () => 0 })
  return (host: string): Promise<AttemptResult> =>
    send({ url: `http://${host}:${receiver.port}/`, headers: {}, body: Buffer.from('{}'), timeoutMs: 10_000 })
}

const refused = { kind: 'failed', reason: 'address' }

/** Spellings of this very machine: without the guard each of them would reach the receiver. */
const loopbackSpellings = [
  '127.0.0.1',
  '127.1',
  '127.0.1',
  '2130706433',
  '0x7f000001',
  '0x7f.1',
  '0x7f.0.0.1',
  '0X7F.0X0.0X0.0X1',
  '0177.0.0.1',
  '0177.1',
  '017700000001',
  '127.0.0.0x1',
  '127.0.0.1.',
  '127。0。0。1',
  '127．0．0．1',
  '127｡0｡0｡1',
  '１２７.0.0.1',
  '①②⑦.0.0.1',
  '%31%32%37.0.0.1',
  '127.0.0.%31',
  '127%2e0%2e0%2e1',
  '[::ffff:127.0.0.1]',
  '[::FFFF:7F00:1]',
  '[0:0:0:0:0:ffff:7f00:0001]',
  'localhost',
  'LOCALHOST',
  'lo\u00adcalhost',
  'ｌocalhost',
  '0',
  '0.0.0.0',
  '0x0',
] as const

/** Addresses elsewhere that are no public ones, and loopback where nothing listens. */
const otherSpellings = [
  '127.0.0.2',
  '127.255.255.254',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[::]',
  '[::127.0.0.1]',
  '[::ffff:0:127.0.0.1]',
  '0.1.2.3',
  '10.0.0.1',
  '10.1',
  '167772161',
  '0xa000001',
  '012.0.0.1',
  '172.16.0.1',
  '172.31.255.255',
  '192.168.0.1',
  '192.168.257',
  '3232235521',
  '100.64.0.1',
  '100.127.255.254',
  '169.254.169.254',
  '2852039166',
  '0xA9FEA9FE',
  '0251.0376.0251.0376',
  '169.254.43518',
  '[::ffff:169.254.169.254]',
  '[::ffff:a9fe:a9fe]',
  '[fd00:ec2::254]',
  '192.0.0.1',
  '192.0.0.192',
  '192.0.2.1',
  '192.88.99.1',
  '198.18.0.1',
  '198.19.255.255',
  '198.51.100.1',
  '203.0.113.1',
  '224.0.0.1',
  '239.255.255.250',
  '240.0.0.1',
  '255.255.255.255',
  '[fe80::1]',
  '[febf::1]',
  '[fec0::1]',
  '[fc00::1]',
  '[FD12:3456::1]',
  '[ff02::1]',
  '[64:ff9b::127.0.0.1]',
  '[64:ff9b::a9fe:a9fe]',
  '[64:ff9b::8.8.8.8]',
  '[64:ff9b:1::10.0.0.1]',
  '[2002:7f00:1::]',
  '[2002:a00:1::1]',
  '[2001:0:4136:e378:8000:63bf:3fff:fdd2]',
  '[2001:db8::1]',
  '[2001:2::1]',
  '[2001:10::1]',
  '[3fff::1]',
  '[5f00::1]',
  '[100::1]',
  '[4000::1]',
  '[::ffff:10.0.0.1]',
  '168.63.129.16',
  '[::ffff:a83f:8110]',
] as const

describe('a delivery to', () => {
  test.each(loopbackSpellings)(
    '%s would reach this machine, and is refused unless that is allowed',
    async (host) => {
      const result = await senderBy(strict, resolveBySystem)(host)
      const connections = receiver.connections
      const allowed = await senderBy(open, resolveBySystem)(host)

      expect([result, connections]).toEqual([expect.objectContaining(refused), 0])
      expect([allowed.kind, receiver.connections]).toEqual(['delivered', 1])
    },
  )

  test.each(otherSpellings)('%s is refused', async (host) => {
    expect(await senderBy(strict, resolveBySystem)(host)).toMatchObject(refused)
  })

  test.each([...loopbackSpellings, ...otherSpellings])(
    '%s is refused by the connection itself, whoever has let the URL through',
    async (host) => {
      const result = await senderBy(strict, resolveBySystem, () => undefined)(host)

      expect([result, receiver.connections]).toEqual([expect.objectContaining(refused), 0])
    },
  )

  test.each([
    ['with a zone', 'http://[fe80::1%25eth0]/'],
    ['with a bare zone', 'http://[fe80::1%eth0]/'],
    ['with too much of a number', 'http://4294967296/'],
    ['with too many parts', 'http://127.0.0.0.1/'],
    ['with a blank', 'http://127.0.0.1 .example.com/'],
    ['that is empty', 'http://'],
    ['of files', 'file:///etc/passwd'],
    ['of gopher', 'gopher://127.0.0.1/'],
    ['of data', 'data:text/plain,x'],
    ['of a socket', 'http+unix://%2Fvar%2Frun%2Fdocker.sock/'],
    ['without a protocol', '127.0.0.1'],
  ])('an address %s is no delivery at all', (_what, url) => {
    expect(urlProblem(url, strict)).toBe('it is no https URL')
  })

  test.each([
    'http://example.com@127.0.0.1/',
    'http://example.com:80@127.0.0.1/',
    'https://user:word@example.com/',
  ])('%s is refused for what stands before the @', (url) => {
    expect(urlProblem(url, open)).toBe('it holds credentials; send them in a header')
  })

  test.each([
    'https://127.0.0.1\\@example.com/',
    'https://127.0.0.1#@example.com/',
    'https://127.0.0.1?@example.com/',
  ])('%s goes by the host that is connected to', (url) => {
    expect(urlProblem(url, strict)).toMatch(/^127\.0\.0\.1 is not a public address \(loopback\)/)
  })
})

describe('a name', () => {
  const inward = [
    '127.0.0.1',
    '10.0.0.1',
    '169.254.169.254',
    '::1',
    'fd00:ec2::254',
    '64:ff9b::7f00:1',
    '::ffff:7f00:1',
    '168.63.129.16',
  ]

  test.each(inward)('that leads to %s is refused', async (address) => {
    await using dns = await startDnsServer(() => [address])

    const result = await senderBy(strict, dns.resolve)('inward.example')

    expect(result).toMatchObject({
      ...refused,
      error: expect.stringMatching(/^inward\.example: .+ is not a public/),
    })
    expect([dns.asked, receiver.connections]).toEqual([['inward.example'], 0])
  })

  test.each([
    ['first', ['127.0.0.1', '93.184.216.34']],
    ['last', ['93.184.216.34', '127.0.0.1']],
    ['by IPv6', ['93.184.216.34', '::1']],
  ])('that leads inward among others is refused: %s', async (_where, addresses) => {
    await using dns = await startDnsServer(() => addresses)

    const result = await senderBy(strict, dns.resolve)('mixed.example')

    expect([result, receiver.connections]).toEqual([expect.objectContaining(refused), 0])
  })

  test('that changes between look-ups is connected to where the one look-up led, and refused once it leads inward', async () => {
    // 127.0.0.2 stands in for the internet.
    await using outside = await startReceiver({ host: '127.0.0.2' })
    outside.behave({ kind: 'answer', status: 200, headers: { connection: 'close' } })
    await using dns = await startDnsServer((_name, lookup) =>
      lookup % 2 === 1 ? ['127.0.0.2'] : ['127.0.0.1'],
    )
    await using inside = await startReceiver()
    const check: CheckAddress = (address, protocol) =>
      address === '127.0.0.2' ? undefined : strict(address, protocol)
    const dispatcher = createGuardedAgent({ check, resolve: dns.resolve })
    agents.push(dispatcher)
    const send = createSender({ dispatcher, check, clock: new FakeClock(), monotonicMs: () => 0 })
    const attempt = { headers: {}, body: Buffer.from('{}'), timeoutMs: 10_000 }

    const kinds: string[] = []
    for (const port of [outside.port, inside.port, outside.port, inside.port]) {
      kinds.push((await send({ ...attempt, url: `http://rebind.example:${port}/` })).kind)
    }

    expect(kinds).toEqual(['delivered', 'failed', 'delivered', 'failed'])
    expect([outside.connections, inside.connections, dns.asked.length]).toEqual([2, 0, 4])
  })

  test('with a dot at its end is the same name', async () => {
    await using dns = await startDnsServer(() => ['127.0.0.1'])

    expect(await senderBy(strict, dns.resolve)('inward.example.')).toMatchObject(refused)
  })

  test('without address may have one another time', async () => {
    await using dns = await startDnsServer(() => [])

    expect(await senderBy(strict, dns.resolve)('nowhere.example')).toMatchObject({
      kind: 'retry',
      reason: 'name',
      error: 'nowhere.example has no address',
    })
  })

  test('whose server does not answer may have one another time', async () => {
    const silent: ResolveName = () => Promise.reject(Object.assign(new Error('x'), { code: 'EAI_AGAIN' }))

    expect(await senderBy(strict, silent)('silent.example')).toMatchObject({
      kind: 'retry',
      reason: 'name',
      error: 'silent.example cannot be resolved: EAI_AGAIN',
    })
  })
})

describe('plain http', () => {
  const check = checkByRules({ allowPrivate: true, allowPlaintext: false })

  test('reaches loopback, where private addresses are allowed', async () => {
    expect(await senderBy(check, resolveBySystem)('localhost')).toMatchObject({ kind: 'delivered' })
  })

  test.each(['10.0.0.1', '93.184.216.34'])('does not reach %s', async (address) => {
    await using dns = await startDnsServer(() => [address])

    expect(urlProblem(`http://${address}/`, check)).toMatch(/^plain http is for loopback only/)
    expect(await senderBy(check, dns.resolve)('plain.example')).toMatchObject({
      ...refused,
      error: expect.stringMatching(/^plain\.example: plain http is for loopback only/),
    })
  })

  test('is no matter for https', () => {
    expect(urlProblem('https://93.184.216.34/', check)).toBeUndefined()
  })
})

test.each([
  '8.8.8.8',
  '1.1.1.1',
  '93.184.216.34',
  '172.15.255.255',
  '172.32.0.0',
  '192.167.255.255',
  '100.63.255.255',
  '100.128.0.0',
  '169.253.255.255',
  '198.17.255.255',
  '198.20.0.0',
  '223.255.255.255',
  '2606:4700:4700::1111',
  '2a00:1450:4001:80e::200e',
  '::ffff:8.8.8.8',
])('%s is public', (address) => {
  expect([addressKind(address), strict(address, 'https:')]).toEqual(['public', undefined])
})

test('what is no address is not public', () => {
  expect(addressKind('example.com')).toBe('unknown')
})

describe('the system’s resolver', () => {
  test('looks up two names at the same time, and the others in their turn', async () => {
    const answers: (() => void)[] = []
    const resolve = createSystemResolver((hostname) => {
      const { promise, resolve: answer } = Promise.withResolvers<readonly Resolved[]>()
      answers.push(() => answer([{ address: hostname, family: 4 }]))
      return promise
    })

    const looking = ['a', 'b', 'c', 'd'].map(resolve)
    await until(() => answers.length === 2)
    answers[0]?.()
    await until(() => answers.length === 3)
    answers[1]?.()
    await until(() => answers.length === 4)
    for (const answer of answers) answer()

    expect((await Promise.all(looking)).map(([first]) => first?.address)).toEqual(['a', 'b', 'c', 'd'])
  })

  test('looks a name up once for all who ask meanwhile, and again for who asks later', async () => {
    let lookups = 0
    const resolve = createSystemResolver(async () => {
      lookups += 1
      return [{ address: '192.0.2.1', family: 4 }]
    })

    await Promise.all([resolve('a'), resolve('a'), resolve('a')])
    const atFirst = lookups
    await resolve('a')

    expect([atFirst, lookups]).toEqual([1, 2])
  })

  test('looks a name up again after a failure', async () => {
    let lookups = 0
    const resolve = createSystemResolver(async () => {
      lookups += 1
      throw new Error('no')
    })

    await expect(resolve('a')).rejects.toThrow('no')
    await expect(resolve('a')).rejects.toThrow('no')
    expect(lookups).toBe(2)
  })
})
