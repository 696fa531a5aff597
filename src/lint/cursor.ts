import type { Place } from './document.ts'

/** Keys and indices from the root of a document. */
export type Path = readonly (string | number)[]

interface Origin {
  file: string
  /** Where the value at a path stands; what is not there stands where its nearest parent does. */
  place: (path: Path) => Place
}

/**
 * A value in a document, or the absence of one, together with where it stands. Nothing here throws, whatever the
 * document holds: rules ask for what they want and look at what they get.
 */
export class Cursor {
  readonly value: unknown
  readonly #origin: Origin
  readonly #from: { parent: Cursor; step: string | number } | undefined

  constructor(value: unknown, origin: Origin, from?: { parent: Cursor; step: string | number }) {
    this.value = value
    this.#origin = origin
    this.#from = from
  }

  get path(): Path {
    return this.#from ? [...this.#from.parent.path, this.#from.step] : []
  }

  get file(): string {
    return this.#origin.file
  }

  get place(): Place {
    return this.#origin.place(this.path)
  }

  /** Whether there is a value; null is none. */
  get exists(): boolean {
    return this.value !== undefined && this.value !== null
  }

  /** A scalar as text, else undefined. */
  get text(): string | undefined {
    return typeof this.value === 'object' || this.value === undefined ? undefined : String(this.value)
  }

  /** `true`, also as text. */
  get isTrue(): boolean {
    return this.text === 'true'
  }

  /** What stands under these keys, one in the other. Envoy reads `snake_case` and `camelCase` alike, so both are found. */
  get(...names: readonly string[]): Cursor {
    return names.reduce((cursor: Cursor, name) => cursor.#child(name), this)
  }

  /** The items of a list; none where it is no list. */
  list(): Cursor[] {
    return Array.isArray(this.value) ? this.value.map((item, at) => this.#at(item, at)) : []
  }

  /** The entries of a map; none where it is no map. */
  entries(): [string, Cursor][] {
    return isMap(this.value)
      ? Object.entries(this.value).map(([key, value]) => [key, this.#at(value, key)])
      : []
  }

  /** This value and the maps and lists in it. */
  descendants(): Cursor[] {
    const found: Cursor[] = [this]
    // The list grows while it is walked: no call for each level.
    for (const cursor of found) {
      const children = [...cursor.list(), ...cursor.entries().map(([, value]) => value)]
      for (const child of children.filter(isContainer)) found.push(child)
    }
    return found
  }

  #child(name: string): Cursor {
    if (!isMap(this.value)) return this.#at(undefined, name)
    const key = [name, camelCase(name)].find((known) => Object.hasOwn(this.value as object, known)) ?? name
    return this.#at(Object.hasOwn(this.value, key) ? this.value[key] : undefined, key)
  }

  #at(value: unknown, step: string | number): Cursor {
    return new Cursor(value, this.#origin, { parent: this, step })
  }
}

function isContainer({ value }: Cursor): boolean {
  return typeof value === 'object' && value !== null
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_text, letter: string) => letter.toUpperCase())
}
