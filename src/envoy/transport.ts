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
import { letGoOfCall } from './letting-go.ts'
import { isUnderWay, type OpenCalls } from './open-calls.ts'

/** Told how long a door took from message to reply, in milliseconds; for metrics. */
export type OnReply = (door: Door, tookMs: number) => void

/** What the adapters share. */
export interface TransportParts {
  onReply: OnReply
  /** Milliseconds that only grow. */
  monotonicMs: () => number
  /** Calls that wait for an answer; ending one answers it with UNAVAILABLE. */
  unanswered: OpenCalls
}

/** Fits a door to grpc-js: its reply goes out, its fault becomes a status, so that Envoy's failure mode rules. */
export function unary<I, O>(
  door: Door,
  handle: (message: I) => Promise<O>,
  { onReply, monotonicMs, unanswered }: TransportParts,
): handleUnaryCall<I, O> {
  return (call, callback) => {
    const startedMs = monotonicMs()
    const open = unanswered.begin(() => callback(noVerdict('Gatepost is stopping')))
    // Once given up the call is answered, and whatever comes after all has no taker.
    const answer: sendUnaryData<O> = (...reply) => {
      if (!unanswered.finish(open)) return
      callback(...reply)
      letGoOfCall(call)
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
  openSession: (metadata: Readonly<Record<string, string>>) => StreamSession<I, O>,
  { onReply, monotonicMs, unanswered }: TransportParts,
): handleBidiStreamingCall<I, O> {
  return (call) => {
    const open = unanswered.begin(() => call.emit('error', noVerdict('Gatepost is stopping')))
    const settled = () => unanswered.finish(open)
    const fail = (details: string) => {
      // `destroy` would lose the status.
      if (settled()) call.emit('error', noVerdict(details))
    }

    let work: Promise<void> = Promise.resolve()
    const next = (step: () => void | Promise<void>) => {
      work = work
        .then(() => (isUnderWay(open) ? step() : undefined))
        .catch(() => fail('no verdict: see the log of Gatepost'))
    }

    let session: StreamSession<I, O>
    try {
      session = openSession(textMetadata(call.metadata))
    } catch {
      fail('cannot use the initial metadata: see the log of Gatepost')
      return
    }
    call.on('data', (message: I) =>
      next(async () => {
        const startedMs = monotonicMs()
        const reply = await session.take(message)
        if (reply !== undefined && isUnderWay(open)) call.write(reply)
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
    call.once('close', () => setImmediate(letGoOfCall, call))
  }
}

/**
 * Fits a reader of batches to grpc-js. Such a stream lasts as long as its connection, unless stopping ends it, or a
 * batch that cannot be taken: then Envoy opens another, and no other stream hears of it.
 */
export function clientStream<I, O>(
  take: (message: I) => void,
  reply: O,
  endless: OpenCalls,
): handleClientStreamingCall<I, O> {
  return (call, callback) => {
    const open = endless.begin(() => callback(null, reply))
    const ended = () => endless.finish(open)
    call.on('data', (message: I) => {
      try {
        take(message)
      } catch {
        // The door has counted and logged it.
        if (ended()) callback({ code: status.INTERNAL, details: 'batch not taken' })
      }
    })
    call.on('end', () => {
      if (ended()) callback(null, reply)
    })
    call.on('error', ended)
    call.on('cancelled', ended)
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
