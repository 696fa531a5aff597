import { expect, test } from '@jest/globals'
import { commands, type Invocation, parseArguments } from '../../src/cli/arguments.ts'

test.each<[string, Invocation]>([
  ['', { kind: 'run', command: 'serve', operands: [], options: {} }],
  ['serve', { kind: 'run', command: 'serve', operands: [], options: {} }],
  ['check', { kind: 'run', command: 'check', operands: [], options: {} }],
  ['check --ready', { kind: 'run', command: 'check', operands: [], options: { ready: true } }],
  [
    'keys new --client-id a --json',
    {
      kind: 'run',
      command: 'keys',
      action: 'new',
      operands: [],
      options: { 'client-id': 'a', json: true },
    },
  ],
  [
    'explain GET /a -H x:1 --header y:2 --host h --setting auth=none --ask',
    {
      kind: 'run',
      command: 'explain',
      operands: ['GET', '/a'],
      options: { header: ['x:1', 'y:2'], host: 'h', setting: ['auth=none'], ask: true },
    },
  ],
  [
    'explain check /a --host serve --principal keys --values --json --client-address ::1',
    {
      kind: 'run',
      command: 'explain',
      operands: ['check', '/a'],
      options: { host: 'serve', principal: 'keys', values: true, json: true, 'client-address': '::1' },
    },
  ],
  ['webhooks', { kind: 'run', command: 'webhooks', action: 'list', operands: [], options: {} }],
  [
    'webhooks list --json',
    { kind: 'run', command: 'webhooks', action: 'list', operands: [], options: { json: true } },
  ],
  [
    'webhooks add --url u --events list -H a:b --ordered',
    {
      kind: 'run',
      command: 'webhooks',
      action: 'add',
      operands: [],
      options: { url: 'u', events: 'list', header: ['a:b'], ordered: true },
    },
  ],
  [
    'webhooks deliveries d1',
    { kind: 'run', command: 'webhooks', action: 'deliveries', operands: ['d1'], options: {} },
  ],
  ['circuits', { kind: 'run', command: 'circuits', action: 'list', operands: [], options: {} }],
  [
    'circuits open events --reason r --for 10m',
    {
      kind: 'run',
      command: 'circuits',
      action: 'open',
      operands: ['events'],
      options: { reason: 'r', for: '10m' },
    },
  ],
  ['events', { kind: 'run', command: 'events', operands: [], options: {} }],
  [
    'events auth.failed --json',
    { kind: 'run', command: 'events', operands: ['auth.failed'], options: { json: true } },
  ],
  ['events --asyncapi', { kind: 'run', command: 'events', operands: [], options: { asyncapi: true } }],
  ['explain --help', { kind: 'help', command: 'explain' }],
  ['--help', { kind: 'help', command: undefined }],
  ['-h', { kind: 'help', command: undefined }],
  ['help', { kind: 'help', command: undefined }],
  ['serve --help', { kind: 'help', command: 'serve' }],
  ['--help check', { kind: 'help', command: 'check' }],
  ['check -h', { kind: 'help', command: 'check' }],
  ['help check', { kind: 'help', command: 'check' }],
  ['--version', { kind: 'version' }],
  ['-v', { kind: 'version' }],
  ['serve --version', { kind: 'version' }],
])('reads "gatepost %s"', (line, invocation) => {
  expect(parseArguments(line.split(' ').filter(Boolean))).toEqual(invocation)
})

test.each([
  ['srve', 'There is no command "srve"'],
  ['help srve', 'There is no command "srve"'],
  ['srve --help', 'There is no command "srve"'],
  ['serve check', 'serve takes no "check"'],
  ['check now', 'check takes no "now"'],
  ['keys', 'keys wants one of: new'],
  ['keys old', 'keys wants one of: new'],
  ['keys new now', 'keys new takes no "now"'],
  ['webhooks lst', 'webhooks wants one of: list, add, show, remove'],
  ['webhooks constructor', 'webhooks wants one of'],
  ['webhooks test', 'webhooks test wants ID'],
  ['webhooks list --url x', 'webhooks list takes no --url'],
  ['webhooks add x', 'webhooks add takes no "x"'],
  ['webhooks replay a b', 'webhooks replay takes no "b"'],
  ['circuits open', 'circuits open wants SERVICE'],
  ['circuits clear a --reason b', 'circuits clear takes no --reason'],
  ['events auth.failed request.completed', 'events takes no "request.completed"'],
  ['explain', 'explain wants METHOD PATH'],
  ['explain GET', 'explain wants METHOD PATH'],
  ['explain GET /a /b', 'explain takes no "/b"'],
  ['explain GET /a --verbose', "Unknown option '--verbose'"],
  ['serve --json', "Unknown option '--json'"],
  ['--port 80', "Unknown option '--port'"],
  ['serve -x', "Unknown option '-x'"],
  ['--version=1', "Option '-v, --version' does not take an argument"],
])('refuses "gatepost %s" with what is wrong', (line, problem) => {
  expect(parseArguments(line.split(' '))).toEqual({
    kind: 'misuse',
    problem: expect.stringContaining(problem),
  })
})

test('serve comes first: it is what gatepost does without a command', () => {
  expect(commands[0]).toBe('serve')
})
