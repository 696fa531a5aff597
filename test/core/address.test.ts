import { expect, test } from '@jest/globals'
import { addressNetwork } from '../../src/core/address.ts'

test.each([
  ['an IPv4 address is its own', '192.0.2.1', '192.0.2.1'],
  ['an IPv6 address has the first 64 bits', '2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['zeros left out count', '2001:db8::1', '2001:db8:0:0::/64'],
  ['zeros left out at the beginning count', '::1', '0:0:0:0::/64'],
  ['zeros left out at the end count', '2001:db8:1:2::', '2001:db8:1:2::/64'],
  ['nothing but zeros is an address', '::', '0:0:0:0::/64'],
  ['letters and leading zeros make no difference', '2001:0DB8:00aB::', '2001:db8:ab:0::/64'],
  ['a zone makes no difference', 'fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['dotted bytes may stand last', '2001:db8::192.0.2.1', '2001:db8:0:0::/64'],
  ['a mapped IPv4 address is that', '::ffff:192.0.2.1', '192.0.2.1'],
  ['a mapped IPv4 address in groups is that', '0:0:0:0:0:FFFF:C000:0201', '192.0.2.1'],
  ['an IPv4 address behind NAT64 is that', '64:ff9b::c000:201', '192.0.2.1'],
])('%s', (_what, address, network) => {
  expect(addressNetwork(address)).toBe(network)
})

test.each([
  '',
  'unix',
  '/run/socket',
  ':',
  ':::',
  '1::2::3',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7::8',
  ':1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:',
  '12345::',
  'g::',
  '::192.0.2',
  '::192.0.2.256',
  '::192.0.2.01',
  '::192.0.2.1:1',
  '::-1',
])('what is no address is left as it is: %p', (text) => {
  expect(addressNetwork(text)).toBe(text)
})
