import { describe, expect, test } from '@jest/globals'
import { parseAmqpUrl, showAmqpUrl } from '../../src/core/amqp-url.ts'

describe('an AMQP URL', () => {
  test.each([
    ['amqp://localhost', { hostname: 'localhost', port: 5672, isEncrypted: false, vhost: '/' }],
    ['amqps://localhost', { port: 5671, isEncrypted: true }],
    ['amqp://localhost', { username: 'guest', password: 'guest' }],
    ['amqp://mq:5673/', { hostname: 'mq', port: 5673, vhost: '/' }],
    ['amqp://mq/%2F', { vhost: '/' }],
    ['amqp://mq/team%2Fa%252Fb', { vhost: 'team/a%2Fb' }],
    ['amqp://s%C3%B6phie%40gate:p%2Fa%3As%25s@mq', { username: 'söphie@gate', password: 'p/a:s%s' }],
    ['amqp://user@mq', { username: 'user', password: '' }],
    ['amqp://[::1]:5673', { hostname: '::1', port: 5673 }],
    [
      'amqps://mq?cacertfile=/ca.pem&certfile=/c.pem&keyfile=/k.pem',
      { files: { ca: '/ca.pem', cert: '/c.pem', key: '/k.pem' } },
    ],
  ])('%s is read', (text, expected) => {
    expect(parseAmqpUrl(text)).toMatchObject(expected)
  })

  test.each([
    ['', 'nothing'],
    ['mq:5672', 'no scheme'],
    ['http://mq', 'another scheme'],
    ['amqp://', 'no host'],
    ['amqp://mq/a/b', 'a bare slash in the vhost'],
    ['amqp://mq/%E4', 'a vhost that is not UTF-8'],
    ['amqp://user:%zz@mq', 'a password that cannot be decoded'],
    ['amqp://:password@mq', 'a password without a user'],
    ['amqp://mq#x', 'a fragment'],
    ['amqps://mq?verify=verify_none', 'an unknown query'],
    ['amqp://mq?cacertfile=/ca.pem', 'a file for TLS without TLS'],
    ['amqps://mq?cacertfile=', 'a file without a name'],
    ['amqps://mq?cacertfile=/a&cacertfile=/b', 'a file twice'],
    ['amqps://mq?certfile=/c.pem', 'a certificate without its key'],
  ])('%s is refused: %s', (text) => {
    expect(parseAmqpUrl(text)).toBeUndefined()
  })

  test.each([
    ['amqp://user:secret@mq/a%2Fb', 'amqp://mq:5672/a%2Fb'],
    ['amqps://user:secret@[::1]?cacertfile=/ca.pem', 'amqps://[::1]:5671/%2F'],
  ])('%s is shown without what is secret', (text, shown) => {
    const url = parseAmqpUrl(text)

    expect(url && showAmqpUrl(url)).toBe(shown)
  })
})
