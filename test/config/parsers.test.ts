import { describe, expect, test } from '@jest/globals'
import * as parsers from '../../src/config/parsers.ts'

type Case = readonly [parse: parsers.Parser<unknown>, text: string, value: unknown]

const choice = parsers.choice('json', 'pretty')
const duration = parsers.durationMs(0, 3_600_000)
const someTime = parsers.durationMs(250, 90_000)
const size = parsers.sizeBytes(64 * 1_024, 2 * 1_024 ** 3)

/** `unix:` and a path of that many bytes. */
function socketPath(bytes: number): string {
  return `unix:/${'s'.repeat(bytes - 1)}`
}

const good: Readonly<Record<string, readonly Case[]>> = {
  text: [[parsers.text, './.gatepost', './.gatepost']],
  boolean: [
    [parsers.boolean, 'true', true],
    [parsers.boolean, 'false', false],
  ],
  choice: [[choice, 'pretty', 'pretty']],
  durationMs: [
    [duration, '0s', 0],
    [duration, '250ms', 250],
    [duration, '10s', 10_000],
    [duration, '1m', 60_000],
    [duration, '1h', 3_600_000],
    [someTime, '250ms', 250],
    [someTime, '90s', 90_000],
  ],
  sizeBytes: [
    [size, '64KiB', 65_536],
    [size, '256MiB', 268_435_456],
    [size, '2GiB', 2_147_483_648],
  ],
  scopes: [
    [parsers.scopes, '', []],
    [parsers.scopes, 'read:users', ['read:users']],
    [parsers.scopes, ' read:users , write:users,, ', ['read:users', 'write:users']],
  ],
  audiences: [
    [parsers.audiences, 'https://api.example.com', ['https://api.example.com']],
    [
      parsers.audiences,
      'api://default, https://api.example.com',
      ['api://default', 'https://api.example.com'],
    ],
    [parsers.audiences, '*', 'any'],
  ],
  fileMode: [
    [parsers.fileMode, '0660', 0o660],
    [parsers.fileMode, '777', 0o777],
    [parsers.fileMode, '000', 0],
  ],
  tcpAddress: [
    [parsers.tcpAddress, '127.0.0.1:9001', { kind: 'tcp', host: '127.0.0.1', port: 9001 }],
    [parsers.tcpAddress, 'localhost:0', { kind: 'tcp', host: 'localhost', port: 0 }],
    [parsers.tcpAddress, '[::1]:65535', { kind: 'tcp', host: '::1', port: 65_535 }],
    [parsers.tcpAddress, '[fe80::1%eth0]:80', { kind: 'tcp', host: 'fe80::1%eth0', port: 80 }],
  ],
  listenAddress: [
    [parsers.listenAddress, '0.0.0.0:9001', { kind: 'tcp', host: '0.0.0.0', port: 9001 }],
    [parsers.listenAddress, 'unix:/run/gatepost.sock', { kind: 'unix', path: '/run/gatepost.sock' }],
    [parsers.listenAddress, 'unix:///run/gatepost.sock', { kind: 'unix', path: '/run/gatepost.sock' }],
    [parsers.listenAddress, socketPath(107), { kind: 'unix', path: `/${'s'.repeat(106)}` }],
  ],
  origin: [
    [parsers.origin, 'tenant.eu.auth0.com', 'https://tenant.eu.auth0.com'],
    [parsers.origin, 'Tenant.EU.auth0.com', 'https://tenant.eu.auth0.com'],
    [parsers.origin, 'https://dev-1234.okta.com/', 'https://dev-1234.okta.com'],
    [parsers.origin, 'http://127.0.0.1:4010', 'http://127.0.0.1:4010'],
  ],
  issuerUrl: [
    [parsers.issuerUrl, 'https://login.example.com/', 'https://login.example.com/'],
    [parsers.issuerUrl, 'https://LOGIN.example.com/realms/a', 'https://LOGIN.example.com/realms/a'],
    [parsers.issuerUrl, 'http://127.0.0.1:4010', 'http://127.0.0.1:4010'],
  ],
  pathSegment: [
    [parsers.pathSegment, 'default', 'default'],
    [parsers.pathSegment, 'aus1_x.y~z-0', 'aus1_x.y~z-0'],
  ],
  longSecret: [[parsers.longSecret, '0123456789abcdef', '0123456789abcdef']],
}

describe.each(Object.entries(good))('%s', (_name, cases) => {
  test.each(cases.map(([parse, text, value]) => ({ parse, text, value })))(
    'reads $text',
    ({ parse, text, value }) => {
      expect(parse(text)).toEqual(value)
    },
  )
})

const aDuration = 'a duration from 0s to 1h, such as 250ms, 10s or 1m'
const anAddress = 'host:port, such as 127.0.0.1:9001 or [::1]:9001'
const aSocket = 'unix: and an absolute path of at most 107 bytes'
const aDomain = 'a domain such as tenant.eu.auth0.com, without a path'
const anIssuer = 'the issuer exactly as tokens name it, such as https://login.example.com/'
const aSegment = 'one path segment, such as default'
const audienceList = 'a list of audiences by commas, or * alone for any'
const aFileMode = 'a file mode in octal, such as 0660'
const aSecret = 'at least 16 characters without blanks'

/** Each text, and what `it must be …` says. */
const bad: Readonly<Record<string, readonly Case[]>> = {
  boolean: ['', 'yes', '1', 'TRUE'].map((text) => [parsers.boolean, text, 'true or false'] as const),
  choice: ['', 'xml', 'JSON', 'json,pretty'].map((text) => [choice, text, 'one of json, pretty'] as const),
  durationMs: [
    ...['', '10', '-1s', '1.5s', '1d', '10 s', '1h1m', '3601s', '9999999999ms', 'Infinitys'].map(
      (text) => [duration, text, aDuration] as const,
    ),
    [someTime, '249ms', 'a duration from 250ms to 90s, such as 250ms, 10s or 1m'],
    [someTime, '91s', 'a duration from 250ms to 90s, such as 250ms, 10s or 1m'],
  ],
  sizeBytes: ['', '64', '63KiB', '3GiB', '1.5GiB', '100MB', '100 MiB', '-1MiB', '1TiB', '64kib'].map(
    (text) => [size, text, 'a size from 64KiB to 2GiB, such as 64MiB or 2GiB'] as const,
  ),
  scopes: [
    [parsers.scopes, 'read users', 'a list of scopes by commas, and "read users" is none'],
    [parsers.scopes, 'read:users,"all"', 'a list of scopes by commas, and "\\"all\\"" is none'],
    [parsers.scopes, 'lesen:ü', 'a list of scopes by commas, and "lesen:ü" is none'],
  ],
  audiences: ['', ' , ', '*,api', '*,*'].map((text) => [parsers.audiences, text, audienceList] as const),
  fileMode: ['', '66', '0o660', '0888', '06600', 'rw-rw----'].map(
    (text) => [parsers.fileMode, text, aFileMode] as const,
  ),
  tcpAddress: [
    ...['', '9001', ':9001', '127.0.0.1', '127.0.0.1:', '127.0.0.1:65536', '127.0.0.1:-1'],
    ...[
      '127.0.0.1:http',
      '::1:9001',
      '[::1]',
      '[localhost]:9001',
      '[127.0.0.1]:9001',
      'http://localhost:9001',
      'a b:1',
    ],
    'unix:/run/gatepost.sock',
  ].map((text) => [parsers.tcpAddress, text, anAddress] as const),
  listenAddress: [
    ...['unix:', 'unix:gatepost.sock', 'unix://run/gatepost.sock', socketPath(108)].map(
      (text) => [parsers.listenAddress, text, aSocket] as const,
    ),
    [parsers.listenAddress, 'tcp:9001:1', anAddress],
  ],
  origin: [
    ...['', 'https://', 'ftp://tenant.auth0.com', 'tenant.auth0.com/path', 'a b.com'],
    ...['https://user@tenant.auth0.com', 'https://:pw@tenant.auth0.com', 'tenant.auth0.com?x=1', 't.com#x'],
  ].map((text) => [parsers.origin, text, aDomain] as const),
  issuerUrl: [
    ...['', 'login.example.com', 'ftp://login.example.com', 'https://login.example.com/?x=1'],
    ...['https://login.example.com/#x', 'https://user:pw@login.example.com/', 'urn:issuer'],
  ].map((text) => [parsers.issuerUrl, text, anIssuer] as const),
  pathSegment: ['', 'a/b', '../x', 'a b', 'ä', 'x'.repeat(101), 'a?b', 'a#b'].map(
    (text) => [parsers.pathSegment, text, aSegment] as const,
  ),
  longSecret: ['', '0123456789abcde', '01234567 89abcdef0'].map(
    (text) => [parsers.longSecret, text, aSecret] as const,
  ),
}

describe.each(Object.entries(bad))('%s', (_name, cases) => {
  test.each(cases.map(([parse, text, whatWouldDo]) => ({ parse, text, whatWouldDo })))(
    'refuses "$text" and says what would do',
    ({ parse, text, whatWouldDo }) => {
      expect(() => parse(text)).toThrow(new parsers.Unfit(String(whatWouldDo)))
    },
  )
})

test.each(['localhost', '127.0.0.1', '127.255.0.9', '::1', '[::1]'])('%s is loopback', (host) => {
  expect(parsers.isLoopback(host)).toBe(true)
})

test.each(['', '0.0.0.0', '::', '128.0.0.1', '127.0.0.1.example.com', 'localhost.example.com', '127.1'])(
  '"%s" is not taken for loopback',
  (host) => {
    expect(parsers.isLoopback(host)).toBe(false)
  },
)
