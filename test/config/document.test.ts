import { describe, expect, test } from '@jest/globals'
import Type from 'typebox'
import { createDocumentReader } from '../../src/config/document.ts'

const schema = Type.Object(
  {
    name: Type.Optional(Type.String({ minLength: 1 })),
    level: Type.Optional(Type.Enum(['low', 'high'])),
    'a/b~c': Type.Optional(Type.Number()),
    entries: Type.Optional(
      Type.Array(
        Type.Object(
          {
            id: Type.String(),
            at: Type.Optional(Type.String({ format: 'date-time' })),
            who: Type.Optional(
              Type.Union([
                Type.Enum(['all', 'none']),
                Type.Array(Type.String(), { minItems: 1 }),
                Type.Object(
                  { mode: Type.Optional(Type.Enum(['strict', 'lax'])) },
                  { additionalProperties: false },
                ),
              ]),
            ),
          },
          { additionalProperties: false },
        ),
      ),
    ),
  },
  { additionalProperties: false },
)

const read = createDocumentReader<unknown>(schema)

function problems(...lines: readonly string[]): readonly string[] {
  const result = read('file.yaml', lines.join('\n'))
  return result.kind === 'problems' ? result.problems : []
}

describe('a file that fits', () => {
  test.each([
    ['YAML', 'name: x\nentries:\n  - id: "1"\n'],
    ['JSON', '{"name": "x", "entries": [{"id": "1"}]}'],
    ['with Windows line ends', 'name: x\r\nentries:\r\n  - id: "1"\r\n'],
    ['with a comment and a byte order mark', '\ufeff# who\nname: x\nentries: [{id: "1"}]'],
    ['with an anchor', 'name: &n x\nentries:\n  - {id: "1"}\n'],
  ])('is read: %s', (_what, text) => {
    expect(read('file', text)).toMatchObject({
      kind: 'document',
      value: { name: 'x', entries: [{ id: '1' }] },
    })
  })

  test.each(['', '\n', '# nothing yet\n', '---\n'])('may be empty: %j', (text) => {
    expect(read('file', text)).toMatchObject({ kind: 'document', value: {} })
  })

  test('keeps texts texts: yes and 1e3 are none, a date is one', () => {
    expect(read('file', 'name: yes')).toMatchObject({ kind: 'document', value: { name: 'yes' } })
    expect(read('file', 'name: 2030-01-31')).toMatchObject({
      kind: 'document',
      value: { name: '2030-01-31' },
    })
    expect(problems('name: 1e3')).toEqual(['file.yaml:1:7: name: must be string'])
  })
})

describe('every problem is placed by line and column, and all are told at once', () => {
  test('an unknown setting at its own name', () => {
    expect(problems('name: x', 'entries:', '  - id: a', '    colour: red', 'size: 1')).toEqual([
      'file.yaml:5:1: the file: there is no setting "size"',
      'file.yaml:4:5: entries.0: there is no setting "colour"',
    ])
  })

  test('a value of a wrong kind at the value', () => {
    expect(problems('name: [x]', 'entries:', '  - id: 7')).toEqual([
      'file.yaml:1:7: name: must be string',
      'file.yaml:3:9: entries.0.id: must be string',
    ])
  })

  test('a value that is none of a few words with the words', () => {
    expect(problems('level: middle')).toEqual(['file.yaml:1:8: level: must be one of low, high'])
  })

  test('what is missing at what lacks it', () => {
    expect(problems('entries:', '  - who: all')).toEqual([
      "file.yaml:2:5: entries.0: must have required property 'id'",
    ])
  })

  test('a format that is not kept', () => {
    expect(problems('entries:', '  - id: a', '    at: tomorrow')).toEqual([
      'file.yaml:3:9: entries.0.at: must match format "date-time"',
    ])
  })

  test('beyond the ninth entry too, and under a name with odd characters', () => {
    const entries = Array.from({ length: 12 }, (_, at) => `  - id: ${at === 11 ? 7 : `"${at}"`}`)

    expect(problems('entries:', ...entries)).toEqual(['file.yaml:13:9: entries.11.id: must be string'])
    expect(problems('a/b~c: x')).toEqual([expect.stringMatching(/^file\.yaml:1:8: /)])
  })

  test('a file that is no map at its beginning', () => {
    expect(problems('- a', '- b')).toEqual(['file.yaml:1:1: the file: must be object'])
    expect(problems('just words')).toEqual(['file.yaml:1:1: the file: must be object'])
  })
})

describe('where several forms would do', () => {
  test('all are named if none was meant', () => {
    expect(problems('entries:', '  - id: a', '    who: 7')).toEqual([
      'file.yaml:3:10: entries.0.who: must be one of all, none, or must be array, or must be object',
    ])
  })

  test('each place is judged by itself', () => {
    const entries = ['  - {id: a, who: 7}', '  - {id: b, who: {mood: good}}', '  - {id: c, who: all}']

    expect(problems('entries:', ...entries)).toEqual([
      'file.yaml:2:18: entries.0.who: must be one of all, none, or must be array, or must be object',
      'file.yaml:3:19: entries.1.who: there is no setting "mood", did you mean "mode"?',
    ])
  })

  test.each([
    ['a list', 'who: []', '10: entries.0.who: must NOT have fewer than 1 items'],
    ['an entry of a list', 'who: [a, 7]', '14: entries.0.who.1: must be string'],
    ['a map', 'who: {mood: good}', '11: entries.0.who: there is no setting "mood", did you mean "mode"?'],
    ['a value in a map', 'who: {mode: mild}', '17: entries.0.who.mode: must be one of strict, lax'],
  ])('the complaint of the one that was meant is told: %s', (_what, line, problem) => {
    expect(problems('entries:', '  - id: a', `    ${line}`)).toEqual([`file.yaml:3:${problem}`])
  })
})

describe('what is no YAML', () => {
  test.each([
    ['a quote that never ends', 'name: "x', /^file\.yaml:1:\d+: Missing closing/],
    ['a name twice', 'name: x\nname: y', /^file\.yaml:2:1: Map keys must be unique/],
    ['a tab for indentation', 'entries:\n\t- id: a', /^file\.yaml:2:\d+: /],
    ['two documents', 'name: x\n---\nname: y', /^file\.yaml:2:1: /],
  ])('is placed as well: %s', (_what, text, problem) => {
    const found = read('file.yaml', text)

    expect(found).toMatchObject({ kind: 'problems', problems: [expect.stringMatching(problem)] })
  })

  test.each([
    ['an alias of nothing', ['name: *nobody'], /nobody|alias/],
    [
      'aliases of aliases that would fill the memory',
      [
        'a: &a [x, x, x, x, x, x, x, x, x, x]',
        'b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]',
        'c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]',
        'd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]',
      ],
      /aliases/,
    ],
  ])('is a problem, not a crash: %s', (_what, lines, problem) => {
    expect(problems(...lines)).toEqual([expect.stringMatching(problem)])
  })
})
