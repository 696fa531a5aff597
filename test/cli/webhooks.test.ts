import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { createAskAdmin } from '../../src/ask-running.ts'
import { type Options, parseArguments } from '../../src/cli/arguments.ts'
import { webhooksCommand } from '../../src/cli/webhooks.ts'
import { webhookBodies } from '../../src/config/webhook-bodies.ts'
import { type AdminApi, adminToken, startAdminApi } from '../support/admin-api.ts'
import {
  createTestWebhooks,
  deliveryDetail,
  type TestWebhooks,
  testSecret,
  testTime,
  webhookView,
} from '../support/webhook-admin.ts'

let webhooks: TestWebhooks
let api: AdminApi
beforeEach(async () => {
  webhooks = createTestWebhooks([
    deliveryDetail(),
    deliveryDetail({ id: 'd2', status: 'failed', reason: 'status', finishedAtMs: testTime }),
  ])
  api = await startAdminApi({ webhooks: { admin: webhooks, bodies: webhookBodies } })
})
afterEach(() => api[Symbol.asyncDispose]())

interface Ran {
  code: number
  out: string
  err: string
}

/** Runs `gatepost webhooks LINE` against the API; each word of the line is an argument. */
async function run(line: string, token = adminToken): Promise<Ran> {
  const invocation = parseArguments(['webhooks', ...line.split(' ').filter(Boolean)])
  if (invocation.kind !== 'run') throw new Error(`"${line}" is no command: ${JSON.stringify(invocation)}`)
  return runWith(invocation, token)
}

async function runWith(
  { action = '', operands, options }: { action?: string; operands: readonly string[]; options: Options },
  token = adminToken,
): Promise<Ran> {
  const ran = { code: 0, out: '', err: '' }
  const { address } = api.server
  ran.code = await webhooksCommand(action, operands, options, {
    ask: createAskAdmin({ admin: { address, token: () => token }, dataDir: '/nowhere' }),
    address: '127.0.0.1:9002',
    readFile(path) {
      if (path === 'secret') return `${testSecret}\n`
      throw Object.assign(new Error('no such file'), { code: 'ENOENT' })
    },
    now: () => testTime,
    answer: (text) => {
      ran.out += text
    },
    complain: (text) => {
      ran.err += text
    },
  })
  return ran
}

describe('gatepost webhooks list', () => {
  test('lists endpoints, how each stands and where it is declared', async () => {
    webhooks.webhooks.set(
      'new',
      webhookView({ id: 'new', source: 'replica', condition: 'paused', pending: 12, events: ['a.b', 'c.*'] }),
    )

    expect(await run('')).toEqual({
      code: 0,
      out: [
        'ID      CONDITION   PENDING  FAILURES  FROM     EVENTS   URL',
        'oncall  delivering  0        0         file     *        https://hooks.example.com/gatepost',
        'new     paused      12       0         replica  a.b,c.*  https://hooks.example.com/gatepost',
        '',
      ].join('\n'),
      err: '',
    })
  })

  test('says what to do where there is none', async () => {
    webhooks.webhooks.clear()

    expect((await run('list')).out).toBe(
      'There are no endpoints; gatepost webhooks add --url https://… adds one\n',
    )
  })

  test('is what the API answers, for machines', async () => {
    const { out } = await run('list --json')

    expect(JSON.parse(out)).toEqual((await api.ask('GET', '/api/webhooks')).body)
  })
})

describe('gatepost webhooks add', () => {
  test('adds one, shows its secret once, and says how to verify by it', async () => {
    const { code, out, err } = await run('add --url https://a.example/ --events auth.failed --id mine')

    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(/^mine takes auth\.failed to https:\/\/a\.example\/, from this replica alone\.\n/)
    expect(out.split(testSecret)).toHaveLength(2)
    expect(out).toContain('webhook-signature')
    expect(out).toContain('x-webhook-signature')
    expect(out).toContain('gatepost webhooks test mine')
  })

  test('finds a place for every option', async () => {
    await run(
      [
        'add --url https://a.example/ --id all --events auth.failed,circuit_breaker.* --secret-file secret',
        '-H authorization:x --header y:z --max-retries 5 --backoff-seconds 30 --rate-limit 100/1m',
        '--routes users,reports --services user-service --ordered --concurrency 1 --timeout-seconds 5 --inactive',
      ].join(' '),
    )

    expect(webhooks.calls).toEqual([
      [
        'create',
        {
          id: 'all',
          url: 'https://a.example/',
          secret: testSecret,
          events: ['auth.failed', 'circuit_breaker.*'],
          active: false,
          retryPolicy: { maxRetries: 5, backoffSeconds: 30 },
          headers: { authorization: 'x', y: 'z' },
          rateLimit: '100/1m',
          filters: { routes: ['users', 'reports'], services: ['user-service'] },
          ordered: true,
          concurrency: 1,
          timeoutSeconds: 5,
        },
      ],
    ])
  })

  test.each([
    ['add', 'Say where deliveries go: --url https://…'],
    ['add --url https://a.example/ --max-retries few', '--max-retries wants a whole number, not "few"'],
    ['add --url https://a.example/ -H hunter2', "A header is 'name: value'"],
    ['add --url https://a.example/ --secret-file nowhere', '--secret-file: cannot read "nowhere": ENOENT'],
    ['add --url https://a.example/ --timeout-seconds 31', 'timeout_seconds: must be <= 30'],
  ])('"%s" is misuse, with one line on what is wrong', async (line, problem) => {
    expect(await run(line)).toEqual({
      code: 64,
      out: '',
      err: `${problem}. Try gatepost webhooks --help\n`,
    })
    expect(webhooks.calls).toEqual([])
  })

  test('lists several problems, a line each', async () => {
    webhooks.fail({ kind: 'invalid', problems: ['url: is plain http', 'events: there is no "a"'] })

    expect(await run('add --url http://a.example/ --events a')).toEqual({
      code: 64,
      out: '',
      err: 'It does not do:\n- url: is plain http\n- events: there is no "a"\n',
    })
  })
})

describe('gatepost webhooks show', () => {
  test('tells everything but secrets', async () => {
    webhooks.webhooks.set(
      'oncall',
      webhookView({
        condition: 'disabled',
        why: 'it answered 410',
        disabledAtMs: testTime,
        headerNames: ['authorization'],
        secrets: [{}, { untilMs: testTime }],
        failuresInRow: 3,
        failingSinceMs: testTime,
        ordered: true,
        concurrency: 1,
        circuit: 'open',
        circuitUntilMs: testTime,
      }),
    )

    expect((await run('show oncall')).out.split('\n')).toEqual([
      'id           oncall',
      'url          https://hooks.example.com/gatepost',
      'declared in  GATEPOST_WEBHOOKS_FILE',
      'condition    disabled, it answered 410, 2030-01-31T12:00:00.000Z',
      'events       *',
      'retries      3, the first after 60 s',
      'headers      authorization',
      'at a time    1, in order',
      'timeout      10 s',
      'old secrets  one, which signs until 2030-01-31T12:00:00.000Z',
      'pending      0',
      'failures     3, since 2030-01-31T12:00:00.000Z',
      'circuit      open until 2030-01-31T12:00:00.000Z',
      '',
    ])
  })
})

describe('gatepost webhooks test', () => {
  test('says what the receiver answered', async () => {
    expect(await run('test oncall')).toEqual({
      code: 0,
      out: 'delivered: oncall answered 200 after 12 ms; the answer: "thanks"\n',
      err: '',
    })
  })

  test('ends with 1 where it was not delivered', async () => {
    webhooks.test = async () => ({
      kind: 'done',
      value: deliveryDetail({ status: 'failed', attemptLog: deliveryDetail().attemptLog.slice(0, 1) }),
    })

    expect(await run('test oncall')).toEqual({
      code: 1,
      out: 'failed: oncall did not answer: connection, ECONNREFUSED after 5 ms\n',
      err: '',
    })
  })

  test('lets no receiver write control characters to the terminal', async () => {
    const [attempt] = deliveryDetail().attemptLog.slice(1)
    webhooks.test = async () => ({
      kind: 'done',
      value: deliveryDetail({ attemptLog: [{ ...attempt!, answer: '\u001b]0;owned\u0007\u009b31m' }] }),
    })

    const { out } = await run('test oncall')

    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
    expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
    expect(out).toContain('owned')
  })
})

describe('gatepost webhooks rotate', () => {
  test('shows the new secret once, and how long the old one signs on', async () => {
    await run('add --url https://a.example/ --id mine')

    const { code, out } = await run('rotate mine --grace-seconds 60')

    expect(code).toBe(0)
    expect(out.split(testSecret)).toHaveLength(2)
    expect(out).toContain('The old one signs as well until 2030-01-31T12:01:00.000Z.')
  })

  test('takes a secret of your own, and can end the old one at once', async () => {
    await run('add --url https://a.example/ --id mine')

    const { out } = await run('rotate mine --grace-seconds 0 --secret-file secret')

    expect(webhooks.calls.at(-1)).toEqual(['rotate', 'mine', { secret: testSecret, graceSeconds: 0 }])
    expect(out).toContain('The old one signs no more.')
  })

  test('does not change what the file declares', async () => {
    expect(await run('rotate oncall')).toEqual({
      code: 1,
      out: '',
      err: 'The webhook "oncall" is declared in the file: change it there\n',
    })
  })
})

test.each([
  ['pause', 'oncall is paused: what comes is queued; gatepost webhooks resume ends it\n'],
  ['resume', 'oncall is delivered to again\n'],
  ['enable', 'oncall is delivered to again\n'],
])('gatepost webhooks %s says what holds from now on', async (action, out) => {
  expect(await run(`${action} oncall`)).toEqual({ code: 0, out, err: '' })
  expect(webhooks.calls).toEqual([[action, 'oncall']])
})

test('gatepost webhooks resume says what else is in the way', async () => {
  const view = webhookView({ condition: 'disabled', why: 'it answered 410' })
  webhooks.resume = async () => ({ kind: 'done', value: view })

  expect((await run('resume oncall')).out).toBe(
    'oncall is delivered to again, but is disabled: it answered 410\n',
  )
})

test('gatepost webhooks remove removes one', async () => {
  await run('add --url https://a.example/ --id mine')

  expect((await run('remove mine')).out).toBe('mine is removed, with all of its deliveries\n')
  expect((await run('show mine')).code).toBe(1)
})

describe('gatepost webhooks deliveries', () => {
  test('lists them, the newest first, and says how to see more', async () => {
    expect((await run('deliveries --limit 1')).out.split('\n')).toEqual([
      'ID  QUEUED                    WEBHOOK  EVENT        STATUS  ATTEMPTS  REASON  NEXT ATTEMPT',
      'd2  2030-01-31T12:00:00.000Z  oncall   auth.failed  failed  2         status  -',
      'There are more: --cursor 1',
      '',
    ])
    expect((await run('deliveries --limit 1 --cursor 1')).out).toMatch(/^d1 .* delivered /m)
  })

  test('chooses by every filter, times also by how long ago', async () => {
    await run(
      'deliveries --webhook oncall --status failed --event auth.failed --since 2h --until 2030-01-31T13:00:00+01:00',
    )

    expect(webhooks.calls).toEqual([
      [
        'deliveries',
        {
          webhookId: 'oncall',
          status: 'failed',
          eventType: 'auth.failed',
          sinceMs: testTime - 7_200_000,
          untilMs: testTime,
        },
      ],
    ])
  })

  test('shows one with its attempts and its body', async () => {
    expect((await run('deliveries d1')).out.split('\n')).toEqual([
      'id          d1',
      'to          oncall',
      'event       auth.failed',
      'webhook-id  e1',
      'status      delivered',
      'queued      2030-01-31T12:00:00.000Z',
      'ended       2030-01-31T12:01:01.000Z',
      'body        {"event":"auth.failed","timestamp":"2030-01-31T12:00:00.000Z","data":{}}',
      '',
      '#  AT                        TOOK   RESULT                                    ANSWER',
      '1  2030-01-31T12:00:00.000Z  5 ms   did not answer: connection, ECONNREFUSED  -',
      '2  2030-01-31T12:01:00.000Z  12 ms  answered 200                              thanks',
      '',
    ])
  })

  test.each([
    ['deliveries --since yesterday', '--since wants a time such as'],
    ['deliveries --status lost', 'status: must be one of pending, delivered, failed, dropped'],
    ['deliveries --limit many', 'limit: must be integer'],
  ])('"%s" is misuse', async (line, problem) => {
    expect(await run(line)).toEqual({ code: 64, out: '', err: expect.stringContaining(problem) })
  })
})

describe('gatepost webhooks replay', () => {
  test('delivers one once more', async () => {
    expect((await run('replay d2')).out).toBe(
      'd2 is delivered once more, as d2-again; gatepost webhooks deliveries d2-again\n',
    )
  })

  test('delivers all once more that the options choose', async () => {
    expect((await run('replay --all --webhook oncall --since 1h')).out).toBe(
      '1 delivery is delivered once more\n',
    )
    expect(webhooks.calls).toEqual([['replayAll', { webhookId: 'oncall', sinceMs: testTime - 3_600_000 }]])
  })

  test('says where there are more than fit into one call', async () => {
    webhooks.replayAll = async () => ({ kind: 'done', value: { replayed: 10_000, more: true } })

    expect((await run('replay --all')).out).toBe(
      '10000 deliveries are delivered once more; there are more: run it again\n',
    )
  })

  test.each(['replay', 'replay --webhook oncall'])('"%s" replays nothing by accident', async (line) => {
    const { code, err } = await run(line)

    expect([code, webhooks.calls]).toEqual([64, []])
    expect(err).toContain('--all')
  })

  test('says that there is no such delivery', async () => {
    expect(await run('replay x')).toEqual({ code: 1, out: '', err: 'There is no delivery "x"\n' })
  })
})

describe('where gatepost cannot be asked', () => {
  test('nothing runs: it says what to do, exit 69', async () => {
    await api.server.close()

    expect(await run('list')).toEqual({
      code: 69,
      out: '',
      err: 'No gatepost runs on 127.0.0.1:9002; start one, or set GATEPOST_ADMIN_ADDRESS to where it listens\n',
    })
  })

  test('the token is another one: it names the variables', async () => {
    await expect(run('list', 'another-token-than-that-of-this-test')).rejects.toThrow(
      /does not take the admin token; is GATEPOST_DATA_DIR or GATEPOST_ADMIN_TOKEN the same\?$/,
    )
  })

  test('it cannot say at the moment: exit 69', async () => {
    webhooks.fail({ kind: 'unavailable', why: 'There is no data folder' })

    expect(await run('list')).toEqual({ code: 69, out: '', err: 'There is no data folder\n' })
  })
})

test.each([
  'list',
  'add --url https://a.example/',
  'show oncall',
  'test oncall',
  'pause oncall',
  'deliveries',
  'deliveries d1',
  'replay d1',
  'replay --all',
])('gatepost webhooks %s --json is one JSON document', async (line) => {
  const { code, out } = await run(`${line} --json`)

  expect(code).toBe(0)
  expect(JSON.parse(out)).toEqual(expect.any(Object))
})

test('an id is one step of the path, whatever is in it', async () => {
  const { err } = await runWith({ action: 'show', operands: ['../circuits?x'], options: {} })

  expect(err).toBe('There is no webhook "../circuits?x"\n')
})
