import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleUnaryCall,
  type Metadata,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js'
import type { Door } from '../core/request.ts'

/** Told how long a door took from message to reply, in milliseconds; for metrics. */
export type OnReply = (door: Door, tookMs: number) => void

/** What the adapters share. */
export interface TransportParts {
  onReply: OnReply
  /** Milliseconds that only grow. */
  monotonicMs: () => number
  /** Calls under way. */
  calls: OpenCalls
}

/** The calls under way, so that stopping can end them: some by themselves, some in time, some not. */
export interface OpenCalls {
  /** Calls that wait for an answer; each entry answers one with UNAVAILABLE. */
  unanswered: Set<() => void>
  /** Streams that never end by themselves; each entry ends one well. */
  endless: Set<() => void>
}

/** Ends the streams that nobody waits for. */
export function endEndless({ endless }: OpenCalls): void {
  for (const end of endless) end()
  endless.clear()
}

/** Answers what could not be answered in time. */
export function giveUp({ unanswered }: OpenCalls): void {
  for (const answer of unanswered) answer()
  unanswered.clear()
}

/** Fits a door to grpc-js: its reply goes out, its fault becomes a status, so that Envoy's failure mode rules. */
export function unary<I, O>(
  door: Door,
  handle: (message: I) => Promise<O>,
  { onReply, monotonicMs, calls }: TransportParts,
): handleUnaryCall<I, O> {
  return (call, callback) => {
    const startedMs = monotonicMs()
    const stop = () => callback(noVerdict('Gatepost is stopping'))
    calls.unanswered.add(stop)
    // Once given up the call is answered, and whatever comes after all has no taker.
    const answer: sendUnaryData<O> = (...reply) => {
      if (calls.unanswered.delete(stop)) callback(...reply)
    }
    handle(call.request)
      .then(
        (reply) => answer(null, reply),
        // The door has counted and logged it.
        () => answer(noVerdict('no verdict: see the log of Gatepost')),
      )
      .finally(() => onReply(door, monotonicMs() - startedMs))
  }
}

/** One stream of a door, whose messages are taken one after the other. */
export interface StreamSession<I, O> {
  take(message: I): Promise<O | undefined>
  /** The other side sends no more; throws where the stream must not end well. */
  end(): void
  /** The stream is gone. */
  cancel(): void
}

/**
 * Fits a door of streams to grpc-js. Whatever the session throws ends the stream as UNAVAILABLE, never as OK: Envoy
 * takes a clean end for consent.
 */
export function duplex<I, O>(
  door: Door,
  open: (metadata: Readonly<Record<string, string>>) => StreamSession<I, O>,
  { onReply, monotonicMs, calls }: TransportParts,
): handleBidiStreamingCall<I, O> {
  return (call) => {
    const settled = () => calls.unanswered.delete(stop)
    const fail = (details: string) => {
      // `destroy` would lose the status.
      if (settled()) call.emit('error', noVerdict(details))
    }
    const stop = () => call.emit('error', noVerdict('Gatepost is stopping'))
    calls.unanswered.add(stop)

    let work: Promise<void> = Promise.resolve()
    const next = (step: () => void | Promise<void>) => {
      work = work
        .then(() => (calls.unanswered.has(stop) ? step() : undefined))
        .catch(() => fail('no verdict: see the log of Gatepost'))
    }

    let session: StreamSession<I, O>
    try {
      session = open(textMetadata(call.metadata))
    } catch {
      fail('cannot use the initial metadata: see the log of Gatepost')
      return
    }
    call.on('data', (message: I) =>
      next(async () => {
        const startedMs = monotonicMs()
        const reply = await session.take(message)
        if (reply !== undefined && calls.unanswered.has(stop)) call.write(reply)
        onReply(door, monotonicMs() - startedMs)
      }),
    )
    call.on('end', () =>
      next(async () => {
        // grpc-js tells of a reset as of an end, and only then by its own name.
        await nextTurn()
        if (call.cancelled) return
        session.end()
        if (settled()) call.end()
      }),
    )
    call.on('cancelled', () =>
      next(() => {
        settled()
        session.cancel()
      }),
    )
    call.on('error', settled)
  }
}

/**
 * Fits a reader of batches to grpc-js. Such a stream lasts as long as its connection, unless stopping ends it, or a
 * batch that cannot be taken: then Envoy opens another, and no other stream hears of it.
 */
export function clientStream<I, O>(
  take: (message: I) => void,
  reply: O,
  { endless }: OpenCalls,
): handleClientStreamingCall<I, O> {
  return (call, callback) => {
    const end = () => {
      if (endless.delete(end)) callback(null, reply)
    }
    endless.add(end)
    call.on('data', (message: I) => {
      try {
        take(message)
      } catch {
        // The door has counted and logged it.
        if (endless.delete(end)) callback({ code: status.INTERNAL, details: 'batch not taken' })
      }
    })
    call.on('end', end)
    call.on('error', () => endless.delete(end))
    call.on('cancelled', () => endless.delete(end))
  }
}

function textMetadata(metadata: Metadata): Record<string, string> {
  const texts: Record<string, string> = {}
  for (const [key, value] of Object.entries(metadata.getMap())) {
    if (typeof value === 'string') texts[key] = value
  }
  return texts
}

function noVerdict(details: string) {
  return { code: status.UNAVAILABLE, details }
}
