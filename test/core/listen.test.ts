import { expect, test } from '@jest/globals'
import { CannotListen, type ListenAddress, showAddress } from '../../src/core/listen.ts'

test.each<[ListenAddress, string]>([
  [{ kind: 'tcp', host: '127.0.0.1', port: 9001 }, '127.0.0.1:9001'],
  [{ kind: 'tcp', host: '::1', port: 9001 }, '[::1]:9001'],
  [{ kind: 'unix', path: '/run/gatepost.sock' }, 'unix:/run/gatepost.sock'],
])('%j is shown as its variable spells it', (address, text) => {
  expect(showAddress(address)).toBe(text)
})

test.each([
  [Object.assign(new Error('listen EADDRINUSE'), { code: 'EADDRINUSE' }), 'it is in use by another process'],
  [Object.assign(new Error('listen EACCES'), { code: 'EACCES' }), 'permission denied'],
  [Object.assign(new Error('too odd'), { code: 'EODD' }), 'too odd'],
  [{ code: 'EODD' }, 'EODD'],
  [{}, 'unknown'],
])('says why it cannot listen: %s', (cause, why) => {
  const error = new CannotListen({ kind: 'tcp', host: '127.0.0.1', port: 9001 }, cause)

  expect(error.message).toBe(`Cannot listen on 127.0.0.1:9001: ${why}`)
  expect(error.cause).toBe(cause)
})
