import { describe, expect, test } from '@jest/globals'
import { type EventHelp, eventsCommand } from '../../src/cli/events.ts'
import { nearest } from '../../src/config/nearest.ts'
import { describeEvents } from '../../src/events/catalogue-entries.ts'

const entries: readonly EventHelp[] = describeEvents()

function run(operands: readonly string[], options: Record<string, true> = {}) {
  const output = { answers: '', complaints: '' }
  const code = eventsCommand(operands, options, {
    entries,
    asyncApi: (format) => `document as ${format}\n`,
    nearest,
    answer: (text) => {
      output.answers += text
    },
    complain: (text) => {
      output.complaints += text
    },
  })
  return { code, ...output }
}

describe('gatepost events', () => {
  test('lists every type with what it says, when, where to and its fields', () => {
    const { code, answers, complaints } = run([])

    expect([code, complaints]).toEqual([0, ''])
    const words = answers.split(/\s+/).join(' ')
    for (const { type, meaning, occasion, topic, fields } of entries) {
      expect(words).toContain(`${type} says ${meaning} when ${occasion} Kafka topic ${topic} RabbitMQ`)
      for (const { name, isRequired } of fields)
        expect(words).toContain(isRequired ? ` ${name} ` : ` ${name}?`)
    }
  })

  test.each(entries)('shows $type with each field and its example', ({ type, fields, example }) => {
    const { code, answers } = run([type])

    expect(code).toBe(0)
    const words = answers.split(/\s+/).join(' ')
    for (const { name, isRequired, description, type: kind } of fields)
      expect(words).toContain(` ${isRequired ? name : `${name}?`} ${description} (${kind}) `)
    expect(JSON.parse(answers.slice(answers.indexOf('example\n') + 'example\n'.length))).toEqual(example)
  })

  test('no line is too wide for a terminal', () => {
    const text = [[], ...entries.map(({ type }) => [type])].map((operands) => run(operands).answers).join('')

    const prose = text.split('\n').filter((line) => !/^ {2}[ {}]/.test(line))
    expect(prose.filter((line) => line.length > 120)).toEqual([])
  })

  test('lists every type for machines', () => {
    const { code, answers } = run([], { json: true })

    expect(code).toBe(0)
    expect(JSON.parse(answers)).toEqual(
      entries.map(({ type, meaning, occasion, topic, routingKey, schema, example }) => ({
        ...{ type, meaning, when: occasion, topic, routing_key: routingKey },
        ...{ schema: JSON.parse(JSON.stringify(schema)), example },
      })),
    )
  })

  test.each(entries)('gives the JSON Schema of $type alone', ({ type, schema }) => {
    expect(JSON.parse(run([type], { json: true }).answers)).toEqual(JSON.parse(JSON.stringify(schema)))
  })

  test.each([
    [{ asyncapi: true }, 'document as yaml\n'],
    [{ asyncapi: true, json: true }, 'document as json\n'],
  ] as const)('gives the AsyncAPI document for %j', (options, document) => {
    expect(run([], options)).toEqual({ code: 0, answers: document, complaints: '' })
  })

  test.each([
    [
      ['auth.faild'],
      {},
      'There is no event "auth.faild"; did you mean auth.failed. Try gatepost events --help\n',
    ],
    [['auth.failed'], { asyncapi: true }, 'The AsyncAPI document is of all events'],
  ] as const)('refuses %j with %j and says what would do', (operands, options, complaint) => {
    const { code, answers, complaints } = run(operands, options)

    expect([code, answers]).toEqual([64, ''])
    expect(complaints).toContain(complaint)
  })
})
