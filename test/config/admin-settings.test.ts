import { expect, test } from '@jest/globals'
import { readAdminSettings } from '../../src/config/admin-settings.ts'

test('address, folder and token are read, and nobody is asked whom to trust', () => {
  const read = readAdminSettings({
    GATEPOST_ADMIN_ADDRESS: '127.0.0.1:9102',
    GATEPOST_DATA_DIR: '/var/lib/gatepost',
    GATEPOST_ADMIN_TOKEN: 'the-admin-token-of-this-test',
  })

  expect(read).toMatchObject({
    kind: 'settings',
    settings: {
      admin: { address: { kind: 'tcp', host: '127.0.0.1', port: 9102 } },
      dataDir: '/var/lib/gatepost',
    },
  })
  expect(read.kind === 'settings' && read.settings.admin.token?.()).toBe('the-admin-token-of-this-test')
})

test('an empty environment means the defaults, and no token', () => {
  expect(readAdminSettings({})).toEqual({
    kind: 'settings',
    settings: {
      admin: { address: { kind: 'tcp', host: '127.0.0.1', port: 9002 } },
      dataDir: './.gatepost',
    },
  })
})

test('a misspelt variable and a bad value are told, not ignored', () => {
  const read = readAdminSettings({ GATEPOST_ADMIN_ADRESS: '127.0.0.1:1', GATEPOST_ADMIN_ADDRESS: 'x' })

  expect(read).toEqual({
    kind: 'problems',
    problems: [
      expect.stringContaining('GATEPOST_ADMIN_ADDRESS'),
      expect.stringContaining('GATEPOST_ADMIN_ADDRESS: "x"'),
    ],
  })
})
