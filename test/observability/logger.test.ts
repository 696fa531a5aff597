import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'
import { runCommand } from '../support/command.ts'

const source = fileURLToPath(new URL('../../src/observability/logger.ts', import.meta.url))

/** Lets a process of its own log by `script`, which has the logger `log`. */
async function logged(settings: object, script: string, env: NodeJS.ProcessEnv = {}) {
  const program = `
    import { createLoggers } from ${JSON.stringify(source)}
    const loggers = createLoggers(${JSON.stringify(settings)})
    const log = loggers.named('auth')
    ${script}`
  const { stdout, stderr } = await runCommand(['--input-type=module-typescript', '-e', program], env)
  return { stdout, stderr, lines: stderr.split('\n').filter(Boolean) }
}

const fault = `log.error(
  { request_id: 'request-1', user_id: 'alice', exception: new Error('down', { cause: new Error('refused') }) },
  'fault',
)`

test('json lines have the fields that are promised, and the cause of an exception', async () => {
  const { stdout, lines } = await logged({ level: 'info', format: 'json' }, fault)

  const line = JSON.parse(lines[0] ?? '')
  expect(line).toEqual({
    timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    level: 'error',
    message: 'fault',
    logger: 'auth',
    request_id: 'request-1',
    user_id: 'alice',
    exception: expect.objectContaining({
      type: 'Error',
      message: 'down',
      stack: expect.stringContaining('Error: down\n'),
      cause: expect.objectContaining({ message: 'refused' }),
    }),
  })
  expect([lines.length, stdout]).toEqual([1, ''])
})

test('ecs lines have the names of the Elastic Common Schema', async () => {
  const { stdout, lines } = await logged({ level: 'info', format: 'ecs' }, fault)

  const line = JSON.parse(lines[0] ?? '')
  expect(line).toEqual({
    '@timestamp': expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    'ecs.version': expect.stringMatching(/^\d+\.\d+/),
    'log.level': 'error',
    'log.logger': 'auth',
    message: 'fault',
    'http.request.id': 'request-1',
    'user.id': 'alice',
    error: { type: 'Error', message: 'down', stack_trace: expect.stringContaining('Error: down\n') },
  })
  expect([lines.length, stdout]).toEqual([1, ''])
})

test('pretty lines can be read, and have no colour where nobody watches', async () => {
  const { stdout, stderr } = await logged({ level: 'info', format: 'pretty' }, fault)

  expect(stderr).toMatch(/^\[\d\d:\d\d:\d\d\.\d{3}\] ERROR: auth: fault\n/)
  expect(stderr).toContain('request-1')
  expect(stderr).toContain('Error: down')
  expect(stderr).not.toContain('\u001b')
  expect(stdout).toBe('')
})

test.each([
  ['debug', ['debug', 'info', 'warn', 'error']],
  ['info', ['info', 'warn', 'error']],
  ['warn', ['warn', 'error']],
  ['error', ['error']],
  ['silent', []],
])('at level %s the lines from there on are written', async (level, expected) => {
  const script = `for (const level of ['debug', 'info', 'warn', 'error']) log[level]({}, level)`

  const { lines } = await logged({ level, format: 'json' }, script)

  expect(lines.map((line) => JSON.parse(line).level)).toEqual(expected)
})

test('a line that is too much for its fields is still a line', async () => {
  const script = `
    const loop = { name: 'loop' }
    loop.self = loop
    log.warn({ loop, big: 12n, exception: 'no error at all' }, 'strange')`

  const { lines } = await logged({ level: 'info', format: 'json' }, script)

  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ message: 'strange', exception: 'no error at all' })
})

test('lines that are still under way are written before an abrupt end', async () => {
  const script = `
    for (let count = 0; count < 100; count += 1) log.info({ count }, 'line')
    loggers.flush()
    process.exit()`

  const { lines } = await logged({ level: 'info', format: 'json' }, script)

  expect(lines.map((line) => JSON.parse(line).count).sort((a, b) => a - b)).toEqual([...Array(100).keys()])
})
