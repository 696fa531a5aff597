import type { Clock } from '../../core/clock.ts'
import type { EventType } from '../../core/events.ts'
import type { Batch } from './batch.ts'

/** Takes a batch to be committed; never waits. */
export type Send = (number: number, batch: Batch) => void

/** The most characters of events that wait to be committed: half a minute of 2,000 requests a second. */
export const maxBufferedCharacters = 32 * 1024 * 1024

/** Of these, the most that have been sent and not yet been answered. */
const maxSentCharacters = 4 * 1024 * 1024

/** A batch is sent when it is as large as this, or, where it is smaller, when the last is as old as `restMs`. */
const batchLimits = { events: 250, characters: 128 * 1024 }

/** Between two batches that are not full: what a kill -9 can cost, and what is saved by committing together. */
const restMs = 20

interface Held {
  number: number
  batch: Batch
  characters: number
}

interface Forming {
  lines: string[]
  types: Partial<Record<EventType, number>>
  characters: number
}

/**
 * Hands events over to be committed, in batches, and keeps each until it is: whoever commits may die, and the next one
 * gets them again. Bounded, whether nobody commits or somebody does so slowly.
 */
export class HandOver {
  readonly #clock: Clock
  /** Full batches, oldest first; the first `#sent` have been sent. */
  readonly #held: Held[] = []
  #forming = emptyBatch()
  #characters = 0
  #sent = 0
  #sentCharacters = 0
  #lastNumber = 0
  #isResting = false
  #send: Send | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Characters of events that are not committed. */
  get characters(): number {
    return this.#characters
  }

  /** Takes an event, if there is room. */
  add(type: EventType, json: string): boolean {
    if (this.#characters + json.length > maxBufferedCharacters) return false
    const forming = this.#forming
    this.#characters += json.length
    forming.lines.push(json)
    forming.types[type] = (forming.types[type] ?? 0) + 1
    forming.characters += json.length
    if (isFull(forming)) this.#seal()
    return true
  }

  /** Sends what is full; what is not, where the last time was long enough ago and has been answered. */
  pass(): void {
    const send = this.#send
    if (!send) return
    // One that is not full grows while what was sent before it is not answered: a slow disk gets fewer and larger ones.
    if (!this.#isResting && this.#held.length === 0) this.#sealAndRest()
    for (let next = this.#next(); next; next = this.#next()) this.#sendOne(send, next)
  }

  /** Sends everything; for the end. */
  flush(): void {
    const send = this.#send
    if (!send) return
    this.#seal()
    for (const next of this.#held.slice(this.#sent)) this.#sendOne(send, next)
  }

  /** From now on there is somebody who commits; what was sent to another and not answered is sent again. */
  connect(send: Send): void {
    this.#send = send
    this.#sent = 0
    this.#sentCharacters = 0
    this.pass()
  }

  /** Whoever committed has gone. */
  disconnect(): void {
    this.#send = undefined
  }

  /** Lets go of everything up to this batch: it is committed. */
  committed(number: number): void {
    for (let [first] = this.#held; first && first.number <= number; [first] = this.#held) {
      this.#held.shift()
      this.#sent -= 1
      this.#sentCharacters -= first.characters
      this.#characters -= first.characters
    }
    this.pass()
  }

  /** Gives up what is not committed. */
  takeRest(): Batch[] {
    this.#seal()
    const rest = this.#held.splice(0)
    this.#characters = 0
    return rest.map(({ batch }) => batch)
  }

  #next(): Held | undefined {
    const next = this.#held[this.#sent]
    const fits = this.#sent === 0 || this.#sentCharacters + (next?.characters ?? 0) <= maxSentCharacters
    return fits ? next : undefined
  }

  #sendOne(send: Send, { number, batch, characters }: Held): void {
    this.#sent += 1
    this.#sentCharacters += characters
    send(number, batch)
  }

  #sealAndRest(): void {
    if (this.#forming.lines.length === 0) return
    this.#seal()
    this.#isResting = true
    this.#clock.after(restMs, () => {
      this.#isResting = false
      this.pass()
    })
  }

  #seal(): void {
    const { lines, types, characters } = this.#forming
    if (lines.length === 0) return
    this.#lastNumber += 1
    this.#held.push({ number: this.#lastNumber, batch: { types, events: lines.join('\n') }, characters })
    this.#forming = emptyBatch()
  }
}

function emptyBatch(): Forming {
  return { lines: [], types: {}, characters: 0 }
}

function isFull({ lines, characters }: Forming): boolean {
  return lines.length >= batchLimits.events || characters >= batchLimits.characters
}
