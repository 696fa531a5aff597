import { once } from 'node:events'
import { readFileSync, statSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { status } from '@grpc/grpc-js'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { runGatepost } from '../support/command.ts'
import { type Gatepost, parseLogLine, startGatepost, waitUntilReady } from '../support/gatepost.ts'
import { connectGrpc } from '../support/grpc-client.ts'
import { type OpenIdProvider, startOpenIdProvider } from '../support/openid-provider.ts'
import { freePort } from '../support/ports.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'

// Each test starts processes, on machines that may be busy.
jest.setTimeout(60_000)

/** How long the end of a process may take before it is taken for hung. */
const endLimitMs = 30_000

const token = 'the-admin-token-of-this-test'

let provider: OpenIdProvider
beforeAll(async () => {
  provider = await startOpenIdProvider('oidc')
})
afterAll(() => provider.stop())

let folder: TempFolder
beforeEach(async () => {
  folder = await tempFolder('main')
})
afterEach(() => folder.remove())

/** The environment of a Gatepost that trusts the provider. */
function trusting(issuer: OpenIdProvider): Record<string, string> {
  return { OIDC_ISSUER: issuer.issuer, OIDC_AUDIENCE: issuer.audience }
}

function gatepost(args: readonly string[], env: Record<string, string> = {}) {
  return runGatepost(args, env, folder.path)
}

describe('gatepost', () => {
  test('--version answers with the version of the package', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

    expect(await gatepost(['--version'])).toEqual({ code: 0, stdout: `gatepost ${version}\n`, stderr: '' })
  })

  test.each([
    [['--help'], 'gatepost stands beside Envoy'],
    [['serve', '--help'], 'gatepost serve listens for Envoy'],
    [['help', 'check'], 'gatepost check reads the same environment'],
  ])('%j answers with help, whatever the environment', async (args, beginning) => {
    const { code, stdout, stderr } = await gatepost(args, { GATEPOST_AUTH: 'nonsense' })

    expect([code, stderr]).toEqual([0, ''])
    expect(stdout.startsWith(beginning)).toBe(true)
  })

  test.each([
    [['srve'], 'There is no command "srve". Try gatepost --help\n'],
    [['serve', 'now'], 'serve takes no "now". Try gatepost --help\n'],
  ])('%j is misuse: exit 64, and one line on stderr', async (args, stderr) => {
    expect(await gatepost(args)).toEqual({ code: 64, stdout: '', stderr })
  })

  test.each(['serve', 'check'])(
    '%s lists all problems of the environment at once, exit 78',
    async (command) => {
      const env = { GATEPOST_AUTH: 'maybe', LOG_LEVEL: 'loud', GATEPOST_ADMIN_TOKEN: 'hunter2' }

      const { code, stdout, stderr } = await gatepost([command], env)

      expect([code, stdout]).toEqual([78, ''])
      expect(stderr.split('\n')).toEqual([
        'The configuration has 3 problems:',
        expect.stringMatching(/^- GATEPOST_ADMIN_TOKEN: the value does not do/),
        '- GATEPOST_AUTH: "maybe" does not do, it must be one of required, optional, none',
        expect.stringMatching(/^- LOG_LEVEL: "loud" does not do/),
        '',
      ])
    },
  )

  test('in an empty environment names the three ways out, exit 78', async () => {
    const { code, stderr } = await gatepost([])

    expect(code).toBe(78)
    expect(stderr).toMatch(/^The configuration has a problem:\n- GATEPOST_AUTH: .*three ways out:\n {4}1\. /)
  })
})

describe('gatepost check', () => {
  test('exits 0 where the issuer serves keys, and says what it found', async () => {
    const env = { ...trusting(provider), GATEPOST_ADMIN_ADDRESS: `127.0.0.1:${await freePort()}` }

    const { code, stdout, stderr } = await gatepost(['check'], env)

    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^configuration +ok +auth required, 1 issuer, 0 routes$/m)
    expect(stdout).toMatch(/^issuer oidc +ok +1 usable key of http:\/\/127\.0\.0\.1:\d+ \(RS256\)$/m)
    expect(stdout).toMatch(/^gatepost +- +none runs on 127\.0\.0\.1:\d+$/m)
  })

  test('warns of what is allowed and seldom meant', async () => {
    const env = {
      ...trusting(provider),
      OIDC_AUDIENCE: '*',
      AUTH0_DOMAIN: provider.origin,
      AUTH0_AUDIENCE: 'api',
    }

    const { stdout } = await gatepost(['check'], env)

    expect(stdout).toContain('warning: oidc accepts tokens for any audience')
    expect(stdout).toContain('warning: several issuers are trusted on every route')
  })

  test('exits 69 where the issuer does not answer, and says why', async () => {
    const env = { OIDC_ISSUER: `http://127.0.0.1:${await freePort()}`, OIDC_AUDIENCE: 'api' }

    const { code, stdout } = await gatepost(['check'], env)

    expect(code).toBe(69)
    expect(stdout).toMatch(/^issuer oidc +FAILED +Cannot fetch .*: ECONNREFUSED$/m)
  })

  test('exits 1 where the issuer answers and none of its keys will do', async () => {
    await using poor = await startOpenIdProvider('auth0')
    poor.fault = { kind: 'body', text: '{"keys":[{"kty":"oct","kid":"shared","k":"c2VjcmV0"}]}' }
    const env = { AUTH0_DOMAIN: poor.origin, AUTH0_AUDIENCE: 'api' }

    const { code, stdout } = await gatepost(['check'], env)

    expect(code).toBe(1)
    expect(stdout).toContain('key "shared" not used: a symmetric key')
    expect(stdout).not.toContain('c2VjcmV0')
  })

  test('finds the gatepost that runs, and the doors that Envoy has used', async () => {
    await using running = await startGatepost(trusting(provider))
    const env = { ...trusting(provider), GATEPOST_ADMIN_ADDRESS: running.adminAddress }
    const before = await gatepost(['check'], env)
    using client = connectGrpc(running.grpcAddress)
    await client.check({})

    const after = await gatepost(['check'], env)

    expect(before.stdout).toMatch(/^gatepost +ok +ready on 127\.0\.0\.1:\d+\n +no door has been used yet$/m)
    expect(after.stdout).toMatch(/^ +door ext_authz: last request \d{4}-\d\d-\d\dT/m)
    expect([before.code, after.code]).toEqual([0, 0])
  })
})

describe('gatepost serve', () => {
  test('says when it is ready, where it listens and whom it trusts', async () => {
    await using running = await startGatepost({
      ...trusting(provider),
      GATEPOST_STATUS_ADDRESS: '127.0.0.1:0',
    })

    const ready = running.process.lines.map(parseLogLine).find((line) => line?.message === 'ready')
    expect(ready).toMatchObject({
      level: 'info',
      logger: 'gatepost',
      grpc_address: expect.stringMatching(/^127\.0\.0\.1:[1-9]\d*$/),
      admin_address: expect.stringMatching(/^127\.0\.0\.1:[1-9]\d*$/),
      status_address: expect.stringMatching(/^127\.0\.0\.1:[1-9]\d*$/),
      auth: 'required',
      issuers: [provider.issuer],
    })
  })

  test('answers health, readiness, metrics and a Check once it is ready', async () => {
    await using running = await startGatepost({ GATEPOST_AUTH: 'none', GATEPOST_ADMIN_TOKEN: token })
    await waitUntilReady(running)
    using client = connectGrpc(running.grpcAddress)

    const verdict = await client.check({ attributes: { request: { http: { path: '/' } } } })

    const metrics = await (await fetch(`http://${running.adminAddress}/metrics`)).text()
    expect([verdict.http_response, await client.health()]).toEqual(['ok_response', 'SERVING'])
    expect(metrics).toContain('gateway_decisions_total{door="ext_authz",decision="allow",reason="ok"} 1\n')
  })

  test('listens on a Unix socket', async () => {
    const path = join(folder.path, 'gatepost.sock')
    await using running = await startGatepost({
      GATEPOST_AUTH: 'none',
      GATEPOST_GRPC_ADDRESS: `unix:${path}`,
      GATEPOST_GRPC_SOCKET_MODE: '0600',
    })

    using client = connectGrpc(running.grpcAddress)

    expect(await client.health()).toBe('SERVING')
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  test('is ready although its issuer is down, and has a fault for its tokens, not a verdict', async () => {
    const dead = `http://127.0.0.1:${await freePort()}`
    await using running = await startGatepost({ OIDC_ISSUER: dead, OIDC_AUDIENCE: provider.audience })
    using client = connectGrpc(running.grpcAddress)

    const readiness = await fetch(`http://${running.adminAddress}/readyz`)
    const verdict = client.check(withToken(provider.signToken({ iss: dead })))

    expect([readiness.status, await client.health()]).toEqual([200, 'SERVING'])
    await expect(verdict).rejects.toMatchObject({ code: status.UNAVAILABLE })
    expect(await readiness.json()).toMatchObject({
      status: 'ready',
      issuers: { oidc: { keys: 0, error: expect.stringContaining('ECONNREFUSED') } },
    })
  })

  test('writes an admin token that only its owner can read, and that opens the admin API', async () => {
    await using running = await startGatepost({ GATEPOST_AUTH: 'none' })
    const path = join(running.dataFolder, 'admin-token')
    const written = readFileSync(path, 'utf8').trim()

    const without = await fetch(`http://${running.adminAddress}/api/nothing`)
    const withToken = await fetch(`http://${running.adminAddress}/api/nothing`, {
      headers: { authorization: `Bearer ${written}` },
    })

    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect([without.status, withToken.status]).toEqual([401, 404])
  })

  test('on a data folder that another one holds exits 78 and says so', async () => {
    await using running = await startGatepost({ GATEPOST_AUTH: 'none' })
    const env = {
      GATEPOST_AUTH: 'none',
      GATEPOST_DATA_DIR: running.dataFolder,
      GATEPOST_GRPC_ADDRESS: '127.0.0.1:0',
      GATEPOST_ADMIN_ADDRESS: '127.0.0.1:0',
    }

    const { code, stdout, stderr } = await gatepost(['serve'], env)

    expect([code, stdout]).toEqual([78, ''])
    expect(stderr).toBe(
      'The configuration has a problem:\n' +
        `- GATEPOST_DATA_DIR: cannot use "${running.dataFolder}": another process of Gatepost uses it\n`,
    )
  })

  test.each(['GATEPOST_GRPC_ADDRESS', 'GATEPOST_ADMIN_ADDRESS', 'GATEPOST_STATUS_ADDRESS'])(
    'on an address that another one has exits 78 and says so: %s',
    async (name) => {
      await using running = await startGatepost({ GATEPOST_AUTH: 'none' })
      const env = {
        GATEPOST_AUTH: 'none',
        GATEPOST_ADMIN_TOKEN: token,
        GATEPOST_GRPC_ADDRESS: '127.0.0.1:0',
        GATEPOST_ADMIN_ADDRESS: '127.0.0.1:0',
        [name]: running.adminAddress,
      }

      const { code, stderr } = await gatepost(['serve'], env)

      expect(code).toBe(78)
      expect(stderr).toBe(
        'The configuration has a problem:\n' +
          `- Cannot listen on ${running.adminAddress}: it is in use by another process\n`,
      )
    },
  )
})

describe('asked to stop, gatepost', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('exits 0 after %s', async (signal) => {
    await using running = await startGatepost({ GATEPOST_AUTH: 'none' })

    running.process.signal(signal)

    expect(await end(running)).toBe('exit code 0')
    expect(messages(running)).toEqual(['ready', 'stopping', 'stopped'])
  })

  test('reports NOT_SERVING and not ready, and serves on for the drain delay', async () => {
    await using running = await startGatepost({ GATEPOST_AUTH: 'none', GATEPOST_DRAIN_DELAY: '1h' })
    using client = connectGrpc(running.grpcAddress)
    const watch = client.watch()
    await watch.next()

    running.process.signal('SIGTERM')
    const health = await watch.next()

    const ready = await fetch(`http://${running.adminAddress}/readyz`)
    expect([health, ready.status]).toEqual(['NOT_SERVING', 503])
    expect(await ready.json()).toMatchObject({ status: 'not ready', draining: true })
    await expect(client.check({})).resolves.toMatchObject({ http_response: 'ok_response' })
    running.process.signal('SIGTERM')
    expect(await end(running)).toBe('exit code 1')
  })

  test('lets a call under way finish', async () => {
    await using slow = await startOpenIdProvider('oidc')
    await using running = await startGatepost(trusting(slow))
    using client = connectGrpc(running.grpcAddress)
    slow.fault = { kind: 'slow', delayMs: 60_000 }
    const before = slow.fetched.discovery
    const verdict = client.check(withToken(slow.signToken({}, { header: { kid: 'unknown' } })))
    await running.process.until(() => slow.fetched.discovery > before || undefined)

    running.process.signal('SIGTERM')

    await expect(verdict).resolves.toMatchObject({ http_response: 'denied_response' })
  })

  test('does not wait for a client that is frozen', async () => {
    await using running = await startGatepost({ GATEPOST_AUTH: 'none', GATEPOST_DRAIN_TIMEOUT: '0s' })
    const [host, port] = running.grpcAddress.split(':')
    const frozen = createConnection({ host: String(host), port: Number(port) }).pause()
    await once(frozen, 'connect')
    frozen.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

    running.process.signal('SIGTERM')

    expect(await end(running)).toBe('exit code 0')
    frozen.destroy()
  })

  test('does not wait for a client that watches its health', async () => {
    await using running = await startGatepost({ GATEPOST_AUTH: 'none', GATEPOST_DRAIN_TIMEOUT: '1h' })
    using client = connectGrpc(running.grpcAddress)
    const watch = client.watch()
    await watch.next()

    running.process.signal('SIGTERM')

    expect([await watch.next(), await watch.next()]).toEqual(['NOT_SERVING', 'ended'])
    expect(await end(running)).toBe('exit code 0')
  })
})

test('no token and no secret is ever in the output, at level debug and through every kind of trouble', async () => {
  await using running = await startGatepost({
    ...trusting(provider),
    GATEPOST_ADMIN_TOKEN: token,
    LOG_LEVEL: 'debug',
  })
  using client = connectGrpc(running.grpcAddress)
  const good = await provider.issueToken({ scope: 'read:users' })
  const tokens = [
    good,
    provider.signToken({ exp: 1 }),
    provider.signToken({}, { header: { kid: 'unknown' } }),
    provider.signToken({ iss: 'https://elsewhere.example.com/' }),
    `${good.slice(0, -4)}AAAA`,
    'opaque-and-secret-token',
  ]

  for (const each of tokens) await client.check(withToken(each))
  await client.check(withToken(good, { auth: 'nonsense' })).catch(() => undefined)
  await client
    .checkBytes(Buffer.concat([Buffer.from([0x0a, 0xff]), Buffer.from(good)]))
    .catch(() => undefined)
  await fetch(`http://${running.adminAddress}/api/x?token=${good}`, {
    headers: { authorization: `Bearer ${token}` },
  })
  await running.stop()

  const output = running.process.lines.join('\n')
  const written = readLines(running).filter(({ message }) => message === 'decision')
  expect(written).toHaveLength(tokens.length)
  expect(readLines(running).some(({ message }) => message === 'fault')).toBe(true)
  for (const secret of [...tokens, token]) {
    // Neither whole nor in part: the signature alone would do harm enough.
    for (const part of secret.split('.')) expect(output).not.toContain(part)
  }
})

/** How a Gatepost that was asked to stop has ended; one that does not is killed. */
async function end({ process }: Gatepost): Promise<string> {
  const timer = setTimeout(() => process.signal('SIGKILL'), endLimitMs)
  const how = await process.ended
  clearTimeout(timer)
  return how
}

function messages(running: Gatepost): string[] {
  return readLines(running).map(({ message }) => message)
}

function readLines({ process: { lines } }: Gatepost) {
  return lines.map(parseLogLine).filter((line) => line !== undefined)
}

function withToken(bearer: string, contextExtensions: Record<string, string> = {}) {
  return {
    attributes: {
      request: {
        http: {
          method: 'GET',
          host: 'api.example.com',
          path: `/users?access_token=${bearer}`,
          headers: { authorization: `Bearer ${bearer}`, 'x-request-id': 'request-1' },
        },
      },
      context_extensions: contextExtensions,
    },
  }
}
