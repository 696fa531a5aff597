import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { generatedFiles } from '../../scripts/events.ts'
import type { GatewayEvent } from '../../src/core/events.ts'
import { eventTypes } from '../../src/events/catalogue.ts'
import { checkAsyncApi } from '../support/asyncapi.ts'
import { runGatepost } from '../support/command.ts'
import { type Rig, startRig } from '../support/rig.ts'
import { tempFolder } from '../support/temp.ts'

// Each test starts processes, on machines that may be busy.
jest.setTimeout(60_000)

const userAgent = 'choice-test/1.0'

describe('with types chosen, requests thinned out and personal data taken away', () => {
  let rig: Rig
  let events: readonly GatewayEvent[]
  let metrics: ReadonlyMap<string, number>
  beforeAll(async () => {
    rig = await startRig({
      config: 'ext-authz',
      env: {
        GATEPOST_RATE_LIMIT: '10/1h',
        GATEPOST_RATE_LIMIT_KEY: 'user',
        GATEPOST_EVENTS: 'request.*,auth.failed',
        GATEPOST_EVENTS_SAMPLE: '0',
        GATEPOST_EVENTS_PRIVACY: 'client_ip=hash,user_agent=drop,user_id=hash',
        GATEPOST_SECRET_KEY: 'a-key-of-this-test-that-is-long-enough-to-be-one',
      },
    })
    const headers = { authorization: `Bearer ${rig.provider.signToken()}`, 'user-agent': userAgent }
    for (let at = 0; at < 5; at++) await rig.send('/users/7', headers)
    await rig.send('/users/7', { 'user-agent': userAgent })
    await rig.upstream.stop()
    for (let at = 0; at < 7; at++) await rig.send('/users/7', headers)
    events = await rig.gatepost.process.until(async () => {
      const found = await rig.events()
      // One without a token, five unanswered by the upstream, two past the limit.
      return found.filter(({ event_type }) => event_type === 'request.completed').length >= 8
        ? found
        : undefined
    })
    metrics = await rig.metrics()
  })
  afterAll(async () => {
    await rig?.[Symbol.asyncDispose]()
  })

  test('every error and every denial is told, and nothing of what went well', () => {
    const told = events.flatMap(({ data }) => ('status_code' in data ? [data.status_code] : []))

    expect(told.sort()).toEqual([401, 429, 429, 503, 503, 503, 503, 503])
  })

  test('what is not told is counted by why, and nothing is dropped', () => {
    const value = (labels: string) => metrics.get(`gateway_events_left_out_total{${labels}}`)

    expect(value('type="request.completed",why="sample"')).toBe(5)
    expect(value('type="rate_limit.exceeded",why="type"')).toBe(1)
    expect(metrics.get('gateway_events_total{type="request.completed"}')).toBe(13)
    expect([...metrics.keys()].filter((name) => name.startsWith('gateway_events_dropped_total'))).toEqual([])
  })

  test('no user, address or user agent is told, and the pseudonym of each is always the same', () => {
    const text = JSON.stringify(events)
    const hashes = (field: string) =>
      new Set(events.map(({ data }) => (data as unknown as Record<string, unknown>)[field]).filter(Boolean))

    for (const secret of [userAgent, '127.0.0.1', '"user_agent"']) expect(text).not.toContain(secret)
    for (const field of ['client_ip', 'user_id'])
      expect([...hashes(field)]).toEqual([expect.stringMatching(/^[\w-]{43}$/)])
    expect(events.some(({ event_type, data }) => event_type === 'auth.failed' && 'client_ip' in data)).toBe(
      true,
    )
  })
})

describe('gatepost events', () => {
  const run = async (...args: readonly string[]) => {
    await using folder = await tempFolder('events')
    return runGatepost(['events', ...args], { GATEPOST_AUTH: 'nonsense' }, folder.path)
  }

  test('prints every type, whatever the environment', async () => {
    const { code, stdout, stderr } = await run()

    expect([code, stderr]).toEqual([0, ''])
    for (const type of eventTypes) expect(stdout).toMatch(new RegExp(`^${type}$`, 'm'))
  })

  test('prints the AsyncAPI document as it is in docs, which has no error', async () => {
    const { code, stdout } = await run('--asyncapi')

    expect([code, await checkAsyncApi(stdout)]).toEqual([0, []])
    expect(stdout).toBe(generatedFiles().get('asyncapi.yaml'))
    expect(stdout).toBe(await readFile(new URL('../../docs/events/asyncapi.yaml', import.meta.url), 'utf8'))
  })

  test('refuses a type that there is not', async () => {
    expect(await run('auth.faild')).toEqual({
      code: 64,
      stdout: '',
      stderr: 'There is no event "auth.faild"; did you mean auth.failed. Try gatepost events --help\n',
    })
  })
})

test('a type that there is not, or a hash without a key, keeps gatepost from starting', async () => {
  await using folder = await tempFolder('events')
  const env = {
    GATEPOST_AUTH: 'none',
    GATEPOST_EVENTS: 'request.complete',
    GATEPOST_EVENTS_PRIVACY: 'user_id=hash',
  }

  const { code, stderr } = await runGatepost(['serve'], env, folder.path)

  expect(code).toBe(78)
  expect(stderr).toContain('did you mean request.completed?')
  expect(stderr).toContain('GATEPOST_EVENTS_PRIVACY: user_id=hash needs a key; set GATEPOST_SECRET_KEY')
})
