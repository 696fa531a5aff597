import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { webhookBodies } from '../../src/config/webhook-bodies.ts'
import { type AdminApi, startAdminApi } from '../support/admin-api.ts'
import { createTestWebhooks, type TestWebhooks, testSecret, webhookView } from '../support/webhook-admin.ts'

let webhooks: TestWebhooks
let api: AdminApi
beforeEach(async () => {
  webhooks = createTestWebhooks()
  api = await startAdminApi({ webhooks: { admin: webhooks, bodies: webhookBodies } })
})
afterEach(() => api[Symbol.asyncDispose]())

const shownOncall = {
  id: 'oncall',
  source: 'file',
  url: 'https://hooks.example.com/gatepost',
  events: ['*'],
  active: true,
  retry_policy: { max_retries: 3, backoff_seconds: 60 },
  header_names: [],
  filters: {},
  ordered: false,
  concurrency: 8,
  timeout_seconds: 10,
  secrets: [{}],
  condition: 'delivering',
  pending: 0,
  failures_in_row: 0,
  circuit: { state: 'closed' },
}

describe('GET /api/webhooks', () => {
  test('lists endpoints as the file spells them, and says where each is declared', async () => {
    const { status, body } = await api.ask('GET', '/api/webhooks')

    expect([status, body]).toEqual([200, { webhooks: [shownOncall] }])
  })

  test('shows one, with all that is known of its trouble', async () => {
    const atMs = Date.parse('2030-01-31T12:00:00Z')
    webhooks.webhooks.set(
      'sick',
      webhookView({
        id: 'sick',
        source: 'replica',
        headerNames: ['authorization'],
        rateLimit: '100/1m',
        filters: { routes: ['users'], services: ['user-service'] },
        secrets: [{}, { untilMs: atMs + 60_000 }],
        condition: 'disabled',
        why: 'it answered 410',
        disabledAtMs: atMs,
        pending: 2,
        oldestPendingAtMs: atMs - 1_000,
        failuresInRow: 7,
        failingSinceMs: atMs - 2_000,
        circuit: 'open',
        circuitUntilMs: atMs + 1_000,
      }),
    )

    const { status, body } = await api.ask('GET', '/api/webhooks/sick')

    expect([status, body]).toEqual([
      200,
      {
        ...shownOncall,
        id: 'sick',
        source: 'replica',
        header_names: ['authorization'],
        rate_limit: '100/1m',
        filters: { routes: ['users'], services: ['user-service'] },
        secrets: [{}, { until: '2030-01-31T12:01:00.000Z' }],
        condition: 'disabled',
        why: 'it answered 410',
        disabled_at: '2030-01-31T12:00:00.000Z',
        pending: 2,
        oldest_pending_at: '2030-01-31T11:59:59.000Z',
        failures_in_row: 7,
        failing_since: '2030-01-31T11:59:58.000Z',
        circuit: { state: 'open', until: '2030-01-31T12:00:01.000Z' },
      },
    ])
  })
})

describe('POST /api/webhooks', () => {
  test('adds an endpoint, and shows its secret this once', async () => {
    const made = await api.ask('POST', '/api/webhooks', { url: 'https://a.example/' })
    const listed = await api.ask('GET', '/api/webhooks')
    const shown = await api.ask('GET', made.headers.get('location') ?? '')

    expect([made.status, made.headers.get('cache-control')]).toEqual([201, 'no-store'])
    expect(made.body).toEqual({
      ...shownOncall,
      id: 'wh_0123456789abcdef',
      source: 'replica',
      url: 'https://a.example/',
      secret: testSecret,
    })
    expect(shown.body).toMatchObject({ id: 'wh_0123456789abcdef' })
    expect(JSON.stringify([listed.body, shown.body])).not.toContain(testSecret)
  })

  test('understands every setting in the spelling of the file', async () => {
    const { status } = await api.ask('POST', '/api/webhooks', {
      id: 'all',
      url: 'https://a.example/',
      secret: testSecret,
      events: ['auth.failed', 'circuit_breaker.*'],
      active: false,
      retry_policy: { max_retries: 5, backoff_seconds: 30 },
      headers: { authorization: 'Bearer x' },
      rate_limit: '100/1m',
      filters: { routes: ['users'], services: ['user-service'] },
      ordered: true,
      concurrency: 1,
      timeout_seconds: 5,
    })

    expect([status, webhooks.calls]).toEqual([
      201,
      [
        [
          'create',
          {
            id: 'all',
            url: 'https://a.example/',
            secret: testSecret,
            events: ['auth.failed', 'circuit_breaker.*'],
            active: false,
            retryPolicy: { maxRetries: 5, backoffSeconds: 30 },
            headers: { authorization: 'Bearer x' },
            rateLimit: '100/1m',
            filters: { routes: ['users'], services: ['user-service'] },
            ordered: true,
            concurrency: 1,
            timeoutSeconds: 5,
          },
        ],
      ],
    ])
  })

  test.each<[string, object, string]>([
    ['no url', {}, "the body: must have required property 'url'"],
    [
      'a setting that is misspelt',
      { url: 'https://a.example/', evnts: ['*'] },
      'the body: there is no setting "evnts", did you mean "events"?',
    ],
    [
      'a misspelt setting of a setting',
      { url: 'https://a.example/', retry_policy: { max_retry: 1 } },
      'retry_policy: there is no setting "max_retry", did you mean "max_retries"?',
    ],
    [
      'what the file alone may say',
      { url: 'https://a.example/', secret_file: '/etc/passwd' },
      'the body: there is no setting "secret_file", did you mean "secret"?',
    ],
    ['a list that is a text', { url: 'https://a.example/', events: 'a' }, 'events: must be array'],
    ['null', { url: 'https://a.example/', events: null }, 'events: must be array'],
    [
      'a number that is too large',
      { url: 'https://a.example/', retry_policy: { max_retries: 21 } },
      'retry_policy.max_retries: must be <= 20',
    ],
    [
      'an id that is none',
      { url: 'https://a.example/', id: '../x' },
      'id: must be of another form: Its name, of letters, digits, _, . and -, a letter or digit first. Default: a random one.',
    ],
  ])('refuses %s before anybody is asked, and names the member', async (_what, draft, title) => {
    const { status, body } = await api.ask('POST', '/api/webhooks', draft)

    expect([status, body]).toEqual([400, { status: 400, title }])
    expect(webhooks.calls).toEqual([])
  })

  test('tells every problem at once', async () => {
    const { status, body } = await api.ask('POST', '/api/webhooks', { url: 7, ordered: 'yes' })

    expect([status, body]).toEqual([
      400,
      {
        status: 400,
        title: 'There are 2 problems',
        problems: ['url: must be string', 'ordered: must be boolean'],
      },
    ])
  })

  test('quotes no secret in a problem', async () => {
    const secret = 'hunter2-'.repeat(200)

    const { status, body } = await api.ask('POST', '/api/webhooks', {
      url: 'https://a.example/',
      secret,
      headers: { 'x-key': '', 'bad name': secret },
    })

    expect(status).toBe(400)
    expect(JSON.stringify(body)).not.toContain('hunter2')
  })

  test.each([
    [['url: it is plain http'], { title: 'url: it is plain http' }],
    [['url: no', 'events: no'], { title: 'There are 2 problems', problems: ['url: no', 'events: no'] }],
  ])('tells what else does not do: %j', async (problems, told) => {
    webhooks.fail({ kind: 'invalid', problems })

    const { status, body } = await api.ask('POST', '/api/webhooks', { url: 'http://a.example/' })

    expect([status, body]).toEqual([400, { status: 400, ...told }])
  })

  test('answers what stands against it by 409', async () => {
    const { status, body } = await api.ask('POST', '/api/webhooks', {
      id: 'oncall',
      url: 'https://a.example/',
    })

    expect([status, body]).toEqual([409, { status: 409, title: 'There is a webhook "oncall" already' }])
  })
})

describe('PATCH /api/webhooks/{id}', () => {
  test('changes what is named; null brings a default back', async () => {
    await api.ask('POST', '/api/webhooks', { id: 'mine', url: 'https://a.example/' })

    const { status, body } = await api.ask('PATCH', '/api/webhooks/mine', {
      url: 'https://b.example/',
      events: null,
      retry_policy: { max_retries: 0 },
      rate_limit: null,
      timeout_seconds: null,
    })

    expect(status).toBe(200)
    expect(body).toMatchObject({ id: 'mine', url: 'https://b.example/' })
    expect(webhooks.calls.at(-1)).toEqual([
      'update',
      'mine',
      {
        url: 'https://b.example/',
        events: null,
        retryPolicy: { maxRetries: 0 },
        rateLimit: null,
        timeoutSeconds: null,
      },
    ])
  })

  test.each<[string, object, string]>([
    ['nothing', {}, 'the body: must NOT have fewer than 1 properties'],
    ['an id', { id: 'other' }, 'the body: there is no setting "id", did you mean'],
    ['a secret', { secret: testSecret }, 'the body: there is no setting "secret", did you mean'],
    ['a url of null', { url: null }, 'url: must be string'],
    ['a yes that is a text', { active: 'true' }, 'active: must be boolean or null'],
  ])('cannot change %s', async (_what, change, title) => {
    const { status, body } = await api.ask('PATCH', '/api/webhooks/oncall', change)

    expect([status, body]).toEqual([400, { status: 400, title: expect.stringContaining(title) }])
    expect(webhooks.calls).toEqual([])
  })
})

describe('an endpoint of the file', () => {
  const title = 'The webhook "oncall" is declared in the file: change it there'

  test.each([
    ['PATCH', '/api/webhooks/oncall', { active: false }],
    ['DELETE', '/api/webhooks/oncall', undefined],
    ['POST', '/api/webhooks/oncall/rotate', {}],
  ])('is not changed by %s %s', async (method, path, sent) => {
    const { status, body } = await api.ask(method, path, sent)

    expect([status, body]).toEqual([409, { status: 409, title }])
  })

  test.each([
    ['pause', 'paused'],
    ['resume', 'delivering'],
    ['enable', 'delivering'],
  ])('takes the order to %s', async (order, condition) => {
    const { status, body } = await api.ask('POST', `/api/webhooks/oncall/${order}`)

    expect([status, body]).toEqual([200, { ...shownOncall, condition }])
    expect(webhooks.calls).toEqual([[order, 'oncall']])
  })

  test('can be tested, and the answer says how that went', async () => {
    const { status, body } = await api.ask('POST', '/api/webhooks/oncall/test')

    expect(status).toBe(200)
    expect(body).toMatchObject({ event: 'webhook.test', status: 'delivered', test: true })
  })
})

describe('an endpoint of the replica', () => {
  beforeEach(() => api.ask('POST', '/api/webhooks', { id: 'mine', url: 'https://a.example/' }))

  test('gets a new secret, shown this once, and the old one signs on', async () => {
    const { status, body, headers } = await api.ask('POST', '/api/webhooks/mine/rotate', {
      grace_seconds: 60,
    })

    expect([status, headers.get('cache-control')]).toEqual([200, 'no-store'])
    expect(body).toMatchObject({
      id: 'mine',
      secret: testSecret,
      secrets: [{}, { until: '2030-01-31T12:01:00.000Z' }],
    })
  })

  test.each([
    [{ grace_seconds: 604_801 }, 'grace_seconds: must be <= 604800'],
    [{ grace: 60 }, 'the body: there is no setting "grace", did you mean "secret"?'],
  ])('does not rotate by %j', async (rotation, title) => {
    const { status, body } = await api.ask('POST', '/api/webhooks/mine/rotate', rotation)

    expect([status, body]).toEqual([400, { status: 400, title }])
  })

  test('is removed', async () => {
    const removed = await api.ask('DELETE', '/api/webhooks/mine')
    const after = await api.ask('GET', '/api/webhooks/mine')

    expect([removed.status, removed.body, after.status]).toEqual([204, '', 404])
  })
})

describe.each([
  ['GET', ''],
  ['PATCH', ''],
  ['DELETE', ''],
  ['POST', '/test'],
  ['POST', '/rotate'],
  ['POST', '/pause'],
  ['POST', '/resume'],
  ['POST', '/enable'],
])('%s /api/webhooks/{id}%s', (method, action) => {
  const sent = ({ PATCH: { active: true }, '/rotate': {} } as Record<string, object>)[action || method]

  test('says that there is no such endpoint', async () => {
    const { status, body } = await api.ask(method, `/api/webhooks/n%C3%B6${action}`, sent)

    expect([status, body]).toEqual([404, { status: 404, title: 'There is no webhook "nö"' }])
  })

  test('says that nobody can say at the moment', async () => {
    webhooks.fail({ kind: 'unavailable', why: 'the disk is full' })

    const { status, body } = await api.ask(method, `/api/webhooks/oncall${action}`, sent)

    expect([status, body]).toEqual([503, { status: 503, title: 'the disk is full' }])
  })
})
