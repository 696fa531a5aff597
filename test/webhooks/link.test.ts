import { MessageChannel, type MessagePort } from 'node:worker_threads'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import type { WebhookAdmin } from '../../src/core/webhook-admin.ts'
import { answerAt, WebhookLink } from '../../src/webhooks/link.ts'
import type { WebhookReport } from '../../src/webhooks/numbers.ts'
import type { EndpointDisabled } from '../../src/webhooks/service.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/until.ts'

let clock: FakeClock
let link: WebhookLink
let far: MessagePort
let reloads: number
let disabled: EndpointDisabled[]
let reports: WebhookReport[]
beforeEach(() => {
  clock = new FakeClock()
  reloads = 0
  disabled = []
  reports = []
  link = new WebhookLink({
    clock,
    onDisabled: (what) => disabled.push(what),
    onReport: (report) => reports.push(report),
  })
})
afterEach(() => far?.close())

/** Answers every call with a refusal. */
function refusing(): WebhookAdmin {
  const refuse = async () => ({ kind: 'unavailable', why: 'not told' })
  return Object.fromEntries(Object.keys(link.admin).map((call) => [call, refuse])) as unknown as WebhookAdmin
}

/** Connects the link to somebody who answers as told; nobody answers where nothing is told. */
function connect(admin?: Partial<WebhookAdmin>): void {
  const { port1, port2 } = new MessageChannel()
  link.connect(port1)
  far = port2
  if (admin) answerAt(port2, { ...refusing(), ...admin }, () => (reloads += 1))
}

test('a call is answered by whoever is at the other end', async () => {
  connect({
    replayAll: async (filter) => ({ kind: 'done', value: { replayed: filter.sinceMs ?? 0, more: true } }),
  })

  expect(await link.admin.replayAll({ sinceMs: 17 })).toEqual({
    kind: 'done',
    value: { replayed: 17, more: true },
  })
  expect(await link.admin.get('a')).toEqual({ kind: 'unavailable', why: 'not told' })
})

test('every call of the interface goes over it', async () => {
  connect({})

  const calls = Object.keys(link.admin) as (keyof WebhookAdmin)[]
  const answers = await Promise.all(calls.map((call) => (link.admin[call] as () => Promise<unknown>)()))

  expect(answers).toEqual(calls.map(() => ({ kind: 'unavailable', why: 'not told' })))
})

test('answers that come in another order reach those who asked', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  connect({
    list: () => promise.then(() => ({ kind: 'done', value: [] })),
    get: async () => ({ kind: 'not_found' }),
  })

  const list = link.admin.list()
  const get = await link.admin.get('a')
  resolve()

  expect([get, await list]).toEqual([{ kind: 'not_found' }, { kind: 'done', value: [] }])
})

test('a call that nobody answers ends in time, and a test after that of its attempt', async () => {
  connect()
  const ended: string[] = []
  void link.admin.get('a').then(({ kind }) => ended.push(`get ${kind}`))
  void link.admin.test('a').then(({ kind }) => ended.push(`test ${kind}`))

  await clock.advance(9_999)
  const early = [...ended]
  await clock.advance(1)
  const later = [...ended]
  await clock.advance(35_000)

  expect([early, later, ended]).toEqual([[], ['get unavailable'], ['get unavailable', 'test unavailable']])
})

test('calls end when the thread does, and later ones when there is none', async () => {
  connect()
  const waiting = link.admin.get('a')

  far.close()

  expect(await waiting).toMatchObject({ kind: 'unavailable' })
  expect(await link.admin.get('a')).toMatchObject({ kind: 'unavailable' })
})

test('no more than 64 calls wait at the same time', async () => {
  connect()
  for (let left = 64; left > 0; left--) void link.admin.get('a')

  expect(await link.admin.get('a')).toEqual({
    kind: 'unavailable',
    why: 'Too many calls wait for an answer.',
  })
})

test('what the thread tells is heard, and what it is told as well', async () => {
  connect({})
  const what: EndpointDisabled = {
    webhook_id: 'a',
    url: 'https://hooks.example.com/',
    reason: 'gone',
    failures: 1,
  }

  far.postMessage({ kind: 'disabled', what, atMs: 1 })
  far.postMessage({ kind: 'report', report: { endpoints: [], attempts: [], dropped: [] } })
  link.reload()
  await until(() => reports.length === 1 && reloads === 1)

  expect(disabled).toEqual([what])
})
