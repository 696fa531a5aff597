import { setImmediate as nextTurn } from 'node:timers/promises'
import type { GatewayEvent } from '../../src/core/events.ts'
import { openLogSink } from '../../src/events/log-sink.ts'

/** What a child process tells of itself on stderr, one JSON line each time. */
export interface EmitReport {
  /** `written`: every event was handed over; `closed`: the sink was closed. */
  stage: 'written' | 'closed'
  accepted: number
  dropped: Record<string, number>
  bufferedBytes: number
  unwritten: number
  errors: string[]
}

// Run as `node test/support/emit-events.ts COUNT BYTES LIMIT_MS`: writes so many events, of about so many bytes each, to
// stdout as Gatepost does, reports, waits for SIGUSR2 if LIMIT_MS begins with `+`, closes, reports and ends.
if (import.meta.main) {
  const [count = '', bytes = '', limit = ''] = process.argv.slice(2)
  const dropped: Record<string, number> = {}
  const errors: string[] = []
  const told = Promise.withResolvers<void>()
  if (limit.startsWith('+')) process.once('SIGUSR2', told.resolve)
  else told.resolve()
  const keepAlive = setInterval(() => undefined, 1_000)

  const sink = openLogSink(
    'stdout',
    (_sink, type) => {
      dropped[type] = (dropped[type] ?? 0) + 1
    },
    (error) => errors.push((error as NodeJS.ErrnoException).code ?? String(error)),
  )
  const report = (stage: EmitReport['stage'], unwritten: number) => {
    const lost = Object.values(dropped).reduce((sum, one) => sum + one, 0)
    const text: EmitReport = {
      stage,
      accepted: Number(count) - lost,
      dropped,
      bufferedBytes: sink.bufferedBytes,
      unwritten,
      errors,
    }
    process.stderr.write(`${JSON.stringify(text)}\n`)
  }

  for (let at = 0; at < Number(count); at++) sink.write([eventOf(at, Number(bytes))])
  await nextTurn()
  report('written', 0)
  await told.promise
  report('closed', await sink.close(Number(limit)))
  clearInterval(keepAlive)
}

function eventOf(at: number, bytes: number): GatewayEvent {
  const data = { reason: 'missing_token', path: '/'.repeat(bytes), token_type: 'none', route: 'r' } as const
  const completed = {
    method: 'GET',
    path: '/'.repeat(bytes),
    status_code: 200,
    duration_ms: at,
    route: 'r',
    decision: 'none',
  } as const
  const envelope = {
    id: `00000000-0000-4000-8000-${String(at).padStart(12, '0')}`,
    timestamp: '2030-01-01T00:00:00.000Z',
  }
  return at % 3 === 0
    ? { ...envelope, event_type: 'auth.failed', data }
    : { ...envelope, event_type: 'request.completed', data: completed }
}
