import {
  BrokenCircuitError,
  BulkheadRejectedError,
  bulkhead,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  ExponentialBackoff,
  handleWhen,
  retry,
  TaskCancelledError,
  TimeoutStrategy,
  timeout,
  wrap,
} from 'cockatiel'

/** How calls to one dependency are made. Times in milliseconds. */
export interface ResilienceOptions {
  /** The dependency's name; a label of the outward metrics. */
  target: string
  /** For each attempt. */
  timeoutMs: number
  /** Attempts in all; 1 retries nothing. Only failures that may pass are tried again. */
  attempts: number
  /** Before the second attempt; grows with decorrelated jitter, up to `maxBackoffMs`. */
  backoffMs: number
  maxBackoffMs: number
  /** Calls under way at the same time. */
  maxConcurrent: number
  /** Calls that wait for their turn; further ones fail at once. */
  maxQueued: number
  /** Failures in a row after which nothing is asked for `openMs`. */
  breakAfter: number
  openMs: number
}

/** Told how calls went; for metrics. */
export interface OutwardObserver {
  /** @param result `rejected` where nothing was sent: the circuit is open, or too many calls wait. */
  ended(target: string, result: 'ok' | 'failed' | 'rejected', tookMs: number): void
  retried(target: string): void
}

/** A failure that may pass by itself: worth another attempt, and a reason to open the circuit. */
export class PassingFailure extends Error {}

/** Nothing was sent, so that the dependency or this process can recover. */
export class CallRejected extends Error {}

/** Calls a dependency; the signal tells the work that its time is up. */
export interface Outward {
  run<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T>
  /** Whether nothing is sent at the moment because the dependency failed too often. */
  readonly isOpen: boolean
}

/**
 * Wraps every call to one dependency: retries around a bounded number of calls around a circuit around a timeout. Each
 * dependency has its own, so that one's trouble is never another's. The circuit is asked when a call's turn comes: what
 * waited while it opened is not sent.
 */
export function createOutward(
  options: ResilienceOptions,
  observer: OutwardObserver,
  monotonicMs: () => number,
): Outward {
  const { target } = options
  const passing = handleWhen(
    (error) => error instanceof PassingFailure || error instanceof TaskCancelledError,
  )
  const circuit = circuitBreaker(passing, {
    breaker: new ConsecutiveBreaker(options.breakAfter),
    halfOpenAfter: options.openMs,
  })
  const retries = retry(passing, {
    maxAttempts: options.attempts - 1,
    backoff: new ExponentialBackoff({ initialDelay: options.backoffMs, maxDelay: options.maxBackoffMs }),
  })
  retries.onRetry(() => observer.retried(target))
  const policy = wrap(
    retries,
    bulkhead(options.maxConcurrent, options.maxQueued),
    circuit,
    timeout(options.timeoutMs, TimeoutStrategy.Aggressive),
  )

  return {
    get isOpen() {
      return circuit.state === CircuitState.Open
    },

    async run(work) {
      const startedMs = monotonicMs()
      const ended = (result: 'ok' | 'failed' | 'rejected') =>
        observer.ended(target, result, monotonicMs() - startedMs)
      try {
        const value = await policy.execute(({ signal }) => work(signal))
        ended('ok')
        return value
      } catch (error) {
        const translated = translate(error, options)
        ended(translated instanceof CallRejected ? 'rejected' : 'failed')
        throw translated
      }
    },
  }
}

function translate(error: unknown, { timeoutMs, breakAfter }: ResilienceOptions): unknown {
  if (error instanceof BrokenCircuitError) {
    return new CallRejected(`its last ${breakAfter} calls failed`, { cause: error })
  }
  if (error instanceof BulkheadRejectedError) {
    return new CallRejected('too many calls are under way', { cause: error })
  }
  if (error instanceof TaskCancelledError) {
    return new PassingFailure(`no answer within ${timeoutMs} ms`, { cause: error })
  }
  return error
}
