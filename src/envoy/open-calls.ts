/** A call under way. */
export interface OpenCall {
  /** Ends it from this side. */
  readonly end: () => void
  /** Where it stands among the others; -1 once it is over. */
  place: number
}

/**
 * Calls under way, so that stopping can end them. No `Set`: one that changes with every call makes a new table every few
 * calls, and V8 links each table to the next. Once the first has grown old, all later ones stay, with the calls that they
 * have ever held, until the next full garbage collection.
 */
export class OpenCalls {
  readonly #calls: OpenCall[] = []

  /** Takes down a call that has begun. */
  begin(end: () => void): OpenCall {
    const call = { end, place: this.#calls.length }
    this.#calls.push(call)
    return call
  }

  /** Strikes a call off. @returns whether it was under way. */
  finish(call: OpenCall): boolean {
    if (!isUnderWay(call)) return false
    const last = this.#calls.pop() as OpenCall
    if (last !== call) {
      this.#calls[call.place] = last
      last.place = call.place
    }
    call.place = -1
    return true
  }

  /** Ends all of them. */
  endAll(): void {
    for (const call of this.#calls.splice(0)) {
      call.place = -1
      call.end()
    }
  }
}

/** Whether a call is under way still. */
export function isUnderWay({ place }: OpenCall): boolean {
  return place >= 0
}
