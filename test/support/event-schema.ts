import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { fullFormats } from 'ajv-formats/dist/formats.js'
import { schemaDir } from '../../scripts/events.ts'
import type { EventType, GatewayEvent } from '../../src/core/events.ts'
import { eventTypes, maxEventBytes } from '../../src/events/catalogue.ts'

const ajv = new Ajv2020({ formats: fullFormats, allErrors: true, strict: true })
const validators = new Map<EventType, ValidateFunction>()

/**
 * Holds an event against the schema in `docs/events` and against the bound of its size.
 * @returns the same event.
 * @throws Error with everything that is wrong.
 */
export function expectValidEvent<T>(event: T): T & GatewayEvent {
  const { event_type: type } = (event ?? {}) as { event_type?: unknown }
  const known = eventTypes.find((name) => name === type)
  const problems = known ? problemsOf(known, event) : [`no event type: ${JSON.stringify(type)}`]
  if (problems.length === 0) return event as T & GatewayEvent
  throw new Error(`Cannot accept the event: ${problems.join('; ')}\n${JSON.stringify(event)}`)
}

/** Reads JSON lines of events, each held against its schema; lines that are no JSON are an error. */
export function readEvents(lines: string): GatewayEvent[] {
  return lines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => expectValidEvent(JSON.parse(line) as unknown as GatewayEvent))
}

function problemsOf(type: EventType, event: unknown): string[] {
  const validate = validatorOf(type)
  validate(event)
  const problems = (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`)
  const bytes = Buffer.byteLength(JSON.stringify(event))
  return bytes > maxEventBytes ? [...problems, `${bytes} bytes`] : problems
}

function validatorOf(type: EventType): ValidateFunction {
  const known = validators.get(type)
  if (known) return known
  const validate = ajv.compile(JSON.parse(readFileSync(join(schemaDir, `${type}.schema.json`), 'utf8')))
  validators.set(type, validate)
  return validate
}
