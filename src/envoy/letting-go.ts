import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { ServerHttp2Stream } from 'node:http2'

/*
 * Node's writable streams assign a closure to a property of theirs (`onwrite`), and V8 puts such closures into the old
 * generation at once. There they outlive their stream until the next full collection, and keep it alive through every
 * minor one, with all that can be reached from it: each call made the pauses of both longer. A call of grpc-js has two
 * such streams, HTTP/2's and its own. They cannot be freed earlier, but what they hold can.
 */

/** Published by Node with `{ stream, headers }`, since 24.3; an older one keeps its garbage longer. */
const createdChannel = 'http2.server.stream.created'

/**
 * From now on every HTTP/2 stream of this process's servers lets go of its listeners once it is closed.
 * @returns what ends that.
 */
export function letGoOfClosedStreams(): () => void {
  subscribe(createdChannel, watchStream)
  return () => unsubscribe(createdChannel, watchStream)
}

function watchStream(message: unknown): void {
  const { stream } = message as { stream: ServerHttp2Stream }
  // Not at once: the other listeners of `close` have their turn first.
  stream.once('close', () => setImmediate(dropListeners, stream))
}

function dropListeners(stream: ServerHttp2Stream): void {
  stream.removeAllListeners()
  // One without any listener would end the process with its next error.
  stream.on('error', ignore)
}

function ignore(): void {}

/** Lets go of what a finished call of grpc-js holds: nothing may be asked of it or sent on it any more. */
export function letGoOfCall(call: object): void {
  // `call` leads to the HTTP/2 stream and its buffers; `request` is the message, where there is but one.
  Object.assign(call, { call: undefined, metadata: undefined, request: undefined })
}
