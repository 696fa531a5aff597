import { stripVTControlCharacters } from 'node:util'
import { describe, expect, test } from '@jest/globals'
import { explainCommand } from '../../src/cli/explain.ts'
import type { ExplainRequest } from '../../src/core/explain-request.ts'
import type { Explanation } from '../../src/core/explanation.ts'

const allowed: Explanation = {
  request: { method: 'GET', authority: 'api.example.com', path: '/users/7' },
  steps: [
    { step: 'route', outcome: 'passed', says: 'users: path /users/{id}' },
    { step: 'identity', outcome: 'passed', says: 'by token', source: 'the environment' },
    { step: 'scopes', outcome: 'skipped', says: 'none are asked for' },
    { step: 'claims', outcome: 'skipped', says: 'none are asked for' },
    { step: 'limits', outcome: 'passed', says: 'it leaves room' },
  ],
  route: { name: 'users', auth: 'required', sources: {} },
  caller: { kind: 'token' },
  limits: [{ name: 'fair', limit: '2/1m', algorithm: 'gcra', by: 'client', remaining: 1, resetSeconds: 30 }],
  upstreamHeaders: { set: [['x-user-id', 'alice']], remove: ['x-api-key'] },
  clientHeaders: [['x-ratelimit-remaining', '1']],
  verdict: { decision: 'allow', reason: 'ok', detail: 'The request goes on to the upstream.' },
}

const refused: Explanation = {
  ...allowed,
  steps: [{ step: 'limits', outcome: 'refused', says: 'Too many requests.' }],
  limits: [{ ...(allowed.limits[0] as Explanation['limits'][number]), remaining: 0, retryAfterSeconds: 30 }],
  clientHeaders: [],
  verdict: {
    decision: 'deny',
    status: 429,
    reason: 'rate_limited',
    detail: 'Try again in 30 s.',
    cause: 'fair',
  },
}
delete refused.upstreamHeaders

const faulted: Explanation = {
  ...refused,
  steps: [{ step: 'identity', outcome: 'fault', says: 'no keys' }],
  limits: [],
  verdict: { decision: 'fault', reason: 'fault', detail: 'There is no verdict.', cause: 'no keys' },
}

/** Runs the command; whoever is asked answers with this explanation. */
async function run(
  operands: readonly string[],
  options: Parameters<typeof explainCommand>[1] = {},
  explanation = allowed,
  colour = false,
) {
  const asked: ExplainRequest[] = []
  let out = ''
  let err = ''
  const code = await explainCommand(operands, options, {
    ask: async (request) => {
      asked.push(request)
      return { explanation, by: 'says this test' }
    },
    answer: (text) => {
      out += text
    },
    complain: (text) => {
      err += text
    },
    colour,
  })
  return { code, out, err, asked }
}

describe('what is asked', () => {
  test('method and path alone have all defaults', async () => {
    expect((await run(['get', '/users?page=2'])).asked).toEqual([
      { method: 'GET', path: '/users?page=2', headers: {}, route_settings: {} },
    ])
  })

  test('every option finds its place', async () => {
    const { asked } = await run(['POST', '/'], {
      header: ['Authorization: Bearer a:b', 'cookie: a=1', 'Cookie:b=2', 'x-empty:'],
      setting: ['auth=none', 'scopes=', 'rate_limit_key=header:x=y'],
      host: 'api.example.com',
      'client-address': '192.0.2.7',
      principal: 'spiffe://example.com/shop',
      ask: true,
      values: true,
    })

    expect(asked).toEqual([
      {
        method: 'POST',
        path: '/',
        headers: { authorization: ['Bearer a:b'], cookie: ['a=1', 'b=2'], 'x-empty': [''] },
        route_settings: { auth: 'none', scopes: '', rate_limit_key: 'header:x=y' },
        host: 'api.example.com',
        client_address: '192.0.2.7',
        principal: 'spiffe://example.com/shop',
        ask_issuers: true,
        show_values: true,
      },
    ])
  })

  test.each([
    [['GET', 'users'], {}, 'The path begins with a slash, not "users"'],
    [['GET', 'https://a.example.com/'], {}, 'The path begins with a slash, not "https://a.example.com/"'],
    [['GET', '/'], { header: ['a: b', 'nothing'] }, `A header is 'name: value', not "nothing"`],
    [['GET', '/'], { header: [': b'] }, `A header is 'name: value', not ": b"`],
    [['GET', '/'], { setting: ['auth'] }, `A setting of Envoy's route is key=value, not "auth"`],
  ])('%j with %j is misuse: 64, and nobody is asked', async (operands, options, problem) => {
    expect(await run(operands, options)).toEqual({
      code: 64,
      out: '',
      err: `${problem}. Try gatepost explain --help\n`,
      asked: [],
    })
  })
})

describe('what is answered', () => {
  test('reads downwards', async () => {
    expect((await run(['GET', '/users/7'])).out.split('\n')).toEqual([
      'GET /users/7 at api.example.com',
      '  says this test',
      '',
      '✓ route     users: path /users/{id}',
      '✓ identity  by token  (the environment)',
      '· scopes    none are asked for',
      '· claims    none are asked for',
      '✓ limits    it leaves room',
      '              fair: 2/1m by client (gcra), 1 left',
      '',
      'allowed: the request goes on to the upstream',
      '  to the upstream  x-user-id: alice',
      '  taken away       x-api-key',
      '  to the client    x-ratelimit-remaining: 1',
      '',
    ])
  })

  test('says why a request is refused', async () => {
    expect((await run(['GET', '/'], {}, refused)).out.split('\n').slice(3)).toEqual([
      '✗ limits    Too many requests.',
      '              fair: 2/1m by client (gcra), 0 left, again in 30 s',
      '',
      'refused: 429 rate_limited (fair)',
      '  Try again in 30 s.',
      '',
    ])
  })

  test('says why there is no verdict', async () => {
    expect((await run(['GET', '/'], {}, faulted)).out.split('\n').slice(3)).toEqual([
      '! identity  no keys',
      '',
      'no verdict: no keys',
      '  There is no verdict.',
      '',
    ])
  })

  test.each([allowed, refused, faulted])('ends with 0 whatever the verdict', async (explanation) => {
    expect((await run(['GET', '/'], {}, explanation)).code).toBe(0)
  })

  test('is JSON for machines, with who says so', async () => {
    const { out } = await run(['GET', '/'], { json: true }, refused, true)

    expect(JSON.parse(out)).toEqual({ by: 'says this test', ...refused })
  })

  test('has colours on a terminal alone, and the same words', async () => {
    const plain = (await run(['GET', '/'])).out
    const coloured = (await run(['GET', '/'], {}, allowed, true)).out

    expect(coloured).toContain('\u001b[32m')
    expect(stripVTControlCharacters(coloured)).toBe(plain)
  })
})
