import { expect, test } from '@jest/globals'
import { parseKeyParts } from '../../src/core/key-parts.ts'
import type { KeyPart } from '../../src/core/limits.ts'

test.each<[string, KeyPart[]]>([
  ['client', [{ kind: 'client' }]],
  ['user+route', [{ kind: 'user' }, { kind: 'route' }]],
  [' ip + header:X-Tenant ', [{ kind: 'ip' }, { kind: 'header', name: 'x-tenant' }]],
  ['claim:Org.Id', [{ kind: 'claim', name: 'Org.Id' }]],
  ['claim:https://example.com/plan', [{ kind: 'claim', name: 'https://example.com/plan' }]],
  ['header:__proto__', [{ kind: 'header', name: '__proto__' }]],
])('reads %j', (text, parts) => {
  expect(parseKeyParts(text)).toEqual(parts)
})

test.each([
  '',
  '+',
  'client+',
  '+ip',
  'Client',
  'tenant',
  'header:',
  'claim:',
  'header:a b',
  'header',
  'client:x',
])('%j is none', (text) => {
  expect(parseKeyParts(text)).toBeUndefined()
})
