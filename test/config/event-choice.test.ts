import { describe, expect, test } from '@jest/globals'
import { eventTypes, privacy, ratio } from '../../src/config/event-choice.ts'
import { readSettings } from '../../src/config/settings.ts'
import { type EventType, eventTopics } from '../../src/core/events.ts'

const all = Object.keys(eventTopics)
const circuits = all.filter((type) => type.startsWith('circuit_breaker.'))

describe('GATEPOST_EVENTS', () => {
  test.each<[string, readonly string[]]>([
    ['all', all],
    ['request.completed', ['request.completed']],
    ['circuit_breaker.*', circuits],
    [' request.completed , auth.failed,auth.failed, auth.* ', ['auth.failed', 'request.completed']],
    ['auth.failed,all', all],
  ])('reads %j', (value, types) => {
    expect(eventTypes(value)).toEqual(types)
  })

  test.each([
    ['request.complete', '"request.complete" is none: did you mean request.completed?'],
    ['auth.failed,circuit_braker.*', '"circuit_braker.*" is none: did you mean circuit_breaker.*?'],
    ['auth', '"auth" is none: did you mean auth.*?'],
    ['auth*', '"auth*" is none: did you mean auth.*?'],
    ['*', '"*" is none'],
    [',', 'event types by commas, or all'],
  ])('refuses %j and says what is meant', (value, problem) => {
    expect(() => eventTypes(value)).toThrow(problem)
  })
})

describe('GATEPOST_EVENTS_SAMPLE', () => {
  test.each([
    ['0', 0],
    ['1', 1],
    ['1.0', 1],
    ['0.05', 0.05],
    ['.5', 0.5],
  ])('reads %s', (value, number) => {
    expect(ratio(value)).toBe(number)
  })

  test.each(['', '.', '2', '1.1', '-0.1', '50%', '1/2', 'NaN', '1e-3', '0.5x'])('refuses %j', (value) => {
    expect(() => ratio(value)).toThrow('a ratio from 0 to 1, such as 0.05')
  })
})

describe('GATEPOST_EVENTS_PRIVACY', () => {
  test.each([
    ['', {}],
    ['client_ip=drop', { client_ip: 'drop' }],
    [' client_ip = drop , user_id=hash,', { client_ip: 'drop', user_id: 'hash' }],
  ])('reads %j', (value, rules) => {
    expect(privacy(value)).toEqual(rules)
  })

  test.each([
    ['client_id=drop', '"client_id=drop" is none: did you mean client_ip?'],
    ['user_id', '"user_id" is none'],
    ['user_id=remove', '"user_id=remove" is none'],
    ['user_id=hash=drop', '"user_id=hash=drop" is none'],
    ['user_id=hash,user_id=drop', 'each field once, and user_id is there twice'],
  ])('refuses %j and says what would do', (value, problem) => {
    expect(() => privacy(value)).toThrow(problem)
    expect(() => privacy(value)).toThrow('field=drop or field=hash by commas')
  })
})

const open = { GATEPOST_AUTH: 'none' }
const key = 'k'.repeat(43)

function problems(env: Record<string, string>): readonly string[] {
  const read = readSettings({ ...open, ...env })
  return read.kind === 'problems' ? read.problems : []
}

describe('together', () => {
  test('they find their places, and the defaults tell everything as it is', () => {
    const read = (env: Record<string, string>) => {
      const result = readSettings({ ...open, ...env })
      return result.kind === 'settings' ? result.settings.eventChoice : result.problems
    }

    expect(read({})).toEqual({ types: all as EventType[], sample: 1, privacy: {} })
    expect(
      read({
        GATEPOST_EVENTS: 'circuit_breaker.*',
        GATEPOST_EVENTS_SAMPLE: '0.1',
        GATEPOST_EVENTS_PRIVACY: 'user_id=hash',
        GATEPOST_SECRET_KEY: key,
      }),
    ).toEqual({ types: circuits, sample: 0.1, privacy: { user_id: 'hash' } })
  })

  test('a hash without a key is a problem that names the fields and the key', () => {
    expect(problems({ GATEPOST_EVENTS_PRIVACY: 'client_ip=drop,user_id=hash,user_agent=hash' })).toEqual([
      'GATEPOST_EVENTS_PRIVACY: user_id=hash,user_agent=hash needs a key; set GATEPOST_SECRET_KEY or GATEPOST_SECRET_KEY_FILE (openssl rand -base64 32 makes one), or drop the field',
    ])
  })

  test('dropping needs no key', () => {
    expect(problems({ GATEPOST_EVENTS_PRIVACY: 'client_ip=drop' })).toEqual([])
  })

  test('a key that does not do is one problem and not two', () => {
    const found = problems({ GATEPOST_EVENTS_PRIVACY: 'user_id=hash', GATEPOST_SECRET_KEY: 'hunter2' })

    expect(found).toEqual([
      'GATEPOST_SECRET_KEY: the value does not do, it must be at least 43 characters without blanks (64 if hex): openssl rand -base64 32 makes one',
    ])
    expect(found.join()).not.toContain('hunter2')
  })
})
