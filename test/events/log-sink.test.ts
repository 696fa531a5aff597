import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { closeSync, constants, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import type { EventType, GatewayEvent } from '../../src/core/events.ts'
import { openLogSink } from '../../src/events/log-sink.ts'
import { maxBufferedBytes } from '../../src/events/outlets.ts'
import type { EmitReport } from '../support/emit-events.ts'
import { readEvents } from '../support/event-schema.ts'
import { type TempFolder, tempFolder } from '../support/temp.ts'
import { until } from '../support/until.ts'

const limitMs = 10_000

let folder: TempFolder
beforeEach(async () => {
  folder = await tempFolder('events')
})
afterEach(() => folder.remove())

function completed(path = '/'): GatewayEvent {
  return {
    id: '9f3b6c3e-2c3d-4f43-8f0f-0c1d1f1e2a3b',
    event_type: 'request.completed',
    timestamp: '2030-01-01T00:00:00.000Z',
    data: { method: 'GET', path, status_code: 200, duration_ms: 1, route: 'r', decision: 'none' },
  }
}

function refused(path = '/'): GatewayEvent {
  return {
    id: '9f3b6c3e-2c3d-4f43-8f0f-0c1d1f1e2a3b',
    event_type: 'auth.failed',
    timestamp: '2030-01-01T00:00:00.000Z',
    data: { reason: 'missing_token', path, token_type: 'none', route: 'r' },
  }
}

/** Opens a sink and keeps what it tells. */
function open(target: string) {
  const dropped = new Map<EventType, number>()
  const errors: unknown[] = []
  const sink = openLogSink(
    target,
    (_sink, type) => dropped.set(type, (dropped.get(type) ?? 0) + 1),
    (error) => errors.push(error),
  )
  return { sink, dropped, errors }
}

describe('in a file', () => {
  test('each event is a line of JSON, in order', async () => {
    const file = join(folder.path, 'events.jsonl')
    const { sink } = open(file)

    sink.write([refused('/a'), completed('/"é\n')])
    sink.write([completed('/c')])
    await sink.close(limitMs)

    expect(readEvents(readFileSync(file, 'utf8'))).toEqual([
      refused('/a'),
      completed('/"é\n'),
      completed('/c'),
    ])
  })

  test('events are added to those of an earlier run, in a folder that is made where it is missing', async () => {
    const file = join(folder.path, 'new', 'events.jsonl')
    const first = open(file)
    first.sink.write([completed('/first')])
    await first.sink.close(limitMs)

    const second = open(file)
    second.sink.write([completed('/second')])
    await second.sink.close(limitMs)

    const paths = readEvents(readFileSync(file, 'utf8')).map(({ data }) => (data as { path: string }).path)
    expect(paths).toEqual(['/first', '/second'])
  })

  test('events are not for everyone to read', async () => {
    const file = join(folder.path, 'events.jsonl')

    await open(file).sink.close(limitMs)

    expect(statSync(file).mode & 0o007).toBe(0)
  })

  test('what waits is known, and is nothing once it is written', async () => {
    const { sink } = open(join(folder.path, 'events.jsonl'))

    sink.write([completed('/é')])
    const waiting = sink.bufferedBytes
    await until(() => sink.bufferedBytes === 0)

    expect(waiting).toBe(Buffer.byteLength(JSON.stringify(completed('/é'))) + 1)
    await sink.close(limitMs)
  })

  test('an event after the end is dropped and counted', async () => {
    const { sink, dropped } = open(join(folder.path, 'events.jsonl'))
    await sink.close(limitMs)

    sink.write([completed(), refused()])

    expect(Object.fromEntries(dropped)).toEqual({ 'request.completed': 1, 'auth.failed': 1 })
  })

  test('that cannot be opened the sink is refused', () => {
    writeFileSync(join(folder.path, 'file'), '')

    expect(() => open(join(folder.path, 'file', 'events.jsonl'))).toThrow(/EEXIST|ENOTDIR/)
  })
})

describe('on a disk that is full', () => {
  test('events are kept up to the bound, then dropped, each counted by type; one error is told', async () => {
    const { sink, dropped, errors } = open('/dev/full')
    const batch = [refused('/'.repeat(10_000)), completed('/'.repeat(10_000))]
    const sizes = batch.map((event) => JSON.stringify(event).length + 1)
    const perBatch = sizes.reduce((sum, size) => sum + size, 0)
    const fitting = Math.floor(maxBufferedBytes / perBatch)
    const written = fitting + 100

    for (let at = 0; at < written; at++) sink.write(batch)
    await until(() => errors.length > 0)

    const [refusedBytes = 0] = sizes
    const roomForOneMore = maxBufferedBytes - fitting * perBatch >= refusedBytes ? 1 : 0
    expect(Object.fromEntries(dropped)).toEqual({
      'auth.failed': 100 - roomForOneMore,
      'request.completed': 100,
    })
    expect(sink.bufferedBytes).toBeLessThanOrEqual(maxBufferedBytes)
    expect(errors).toMatchObject([{ code: 'ENOSPC' }])
    expect(await sink.close(limitMs)).toBe(sink.bufferedBytes)
  })

  test('further failures are not told again', async () => {
    const { sink, errors } = open('/dev/full')
    sink.write([completed()])
    await until(() => errors.length === 1)

    for (let at = 0; at < 5; at++) sink.write([completed()])
    await sink.close(limitMs)

    expect(errors).toHaveLength(1)
  })
})

const emitter = fileURLToPath(new URL('../support/emit-events.ts', import.meta.url))

/** A process that writes events to stdout, and what it says of that on stderr. */
class Emitter {
  readonly #child: ChildProcess
  /** What it writes; paused until somebody reads. */
  readonly stdout: Readable
  readonly #reports: EmitReport[] = []
  ended: string | undefined

  constructor(stdout: { childEnd: number | 'pipe'; ourEnd?: Readable }, args: readonly string[]) {
    this.#child = spawn(process.execPath, [emitter, ...args], { stdio: ['ignore', stdout.childEnd, 'pipe'] })
    this.stdout = stdout.ourEnd ?? (this.#child.stdout as Readable)
    this.#child.once('exit', (code, signal) => {
      this.ended = String(signal ?? code)
    })
    createInterface({ input: this.#child.stderr as Readable }).on('line', (line) =>
      this.#reports.push(JSON.parse(line) as EmitReport),
    )
  }

  /** Lets it go on after `written`, where it was told to wait. */
  goOn(): void {
    this.#child.kill('SIGUSR2')
  }

  async report(stage: EmitReport['stage']): Promise<EmitReport> {
    const find = () => this.#reports.find((report) => report.stage === stage)
    await until(() => find() !== undefined, 30_000)
    return find() as EmitReport
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL')
    this.stdout.destroy()
  }
}

/** Starts an emitter whose stdout is a pipe, as a shell makes one. */
function intoPipe(...args: readonly string[]): Emitter {
  const path = join(folder.path, 'pipe')
  execFileSync('mkfifo', [path])
  const ourEnd = new Socket({
    fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK),
    writable: false,
  })
  const childEnd = openSync(path, 'w')
  const emitting = new Emitter({ childEnd, ourEnd: ourEnd.pause() }, args)
  closeSync(childEnd)
  return emitting
}

/** Starts an emitter whose stdout is a socket, as Node.js and systemd make one. */
function intoSocket(...args: readonly string[]): Emitter {
  return new Emitter({ childEnd: 'pipe' }, args)
}

describe.each([
  ['a pipe', intoPipe],
  ['a socket', intoSocket],
] as const)('on a stdout that is %s', (_kind, start) => {
  test('everything gets out in order where somebody reads', async () => {
    using emitting = start('300', '2000', '10000')

    const lines = (await emitting.stdout.setEncoding('utf8').toArray()).join('')
    const report = await emitting.report('closed')

    const events = readEvents(lines)
    expect(events.map(({ id }) => Number(id.slice(-12)))).toEqual([...events.keys()])
    expect(events).toHaveLength(300)
    expect(report).toMatchObject({ dropped: {}, unwritten: 0, errors: [] })
  })

  test('nobody reads: the process goes on, drops what it cannot hold, and ends all the same', async () => {
    using emitting = start('6000', '2000', '100')

    const report = await emitting.report('closed')
    await until(() => emitting.ended !== undefined)

    expect(emitting.ended).toBe('0')
    expect(report.unwritten).toBeGreaterThan(maxBufferedBytes / 2)
    expect(report.errors).toEqual([])
  })

  test('somebody reads late: what was read and what was dropped is all there was, type by type', async () => {
    using emitting = start('6000', '2000', '+10000')
    const { accepted, dropped } = await emitting.report('written')

    const reading = emitting.stdout.setEncoding('utf8').toArray()
    emitting.goOn()
    const events = readEvents((await reading).join(''))
    const { unwritten } = await emitting.report('closed')

    const read = (type: EventType) => events.filter(({ event_type }) => event_type === type).length
    expect(dropped['auth.failed']).toBeGreaterThan(0)
    expect(unwritten).toBe(0)
    expect(events).toHaveLength(accepted)
    expect(read('auth.failed') + (dropped['auth.failed'] ?? 0)).toBe(2_000)
    expect(read('request.completed') + (dropped['request.completed'] ?? 0)).toBe(4_000)
  })

  test('the reader goes away: that is told once, and everything from then on is counted as dropped', async () => {
    using emitting = start('6000', '2000', '+10000')
    const before = await emitting.report('written')

    emitting.stdout.destroy()
    emitting.goOn()
    const after = await emitting.report('closed')
    await until(() => emitting.ended !== undefined)

    expect(emitting.ended).toBe('0')
    expect(before.errors).toEqual([])
    expect(after).toMatchObject({ errors: ['EPIPE'], unwritten: 0, bufferedBytes: 0 })
    expect(after.accepted).toBeLessThan(before.accepted)
  })
})
