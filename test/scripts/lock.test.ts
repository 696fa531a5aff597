import { readFileSync } from 'node:fs'
import { expect, test } from '@jest/globals'
import { complete, type LockedPackages, platformOf, sorted } from '../../scripts/lock.ts'

const committed: LockedPackages = JSON.parse(
  readFileSync(new URL('../../package-lock.json', import.meta.url), 'utf8'),
).packages

test('the committed lock names every optional dependency, so that `npm ci` takes it (mend: npm run lock)', () => {
  expect(complete(structuredClone(committed))).toEqual([])
  expect(JSON.stringify(sorted(committed))).toBe(JSON.stringify(committed))
})

test('the committed lock names no address to download from', () => {
  expect(Object.keys(committed).filter((folder) => committed[folder]?.resolved !== undefined)).toEqual([])
})

test('agrees with every locked package whose platform npm itself wrote', () => {
  const scoped = Object.entries(committed).filter(([folder, { os, cpu }]) => os && cpu && /@.*-/.test(folder))

  expect(scoped.length).toBeGreaterThan(50)
  for (const [folder, { os, cpu }] of scoped) {
    expect({ folder, ...platformOf(folder) }).toMatchObject({ folder, os, cpu })
  }
})

test.each([
  ['@swc/core-linux-x64-musl', { os: ['linux'], cpu: ['x64'], libc: ['musl'] }],
  ['@swc/core-linux-ppc64-gnu', { os: ['linux'], cpu: ['ppc64'], libc: ['glibc'] }],
  ['@swc/core-linux-arm-gnueabihf', { os: ['linux'], cpu: ['arm'] }],
  ['@swc/core-win32-ia32-msvc', { os: ['win32'], cpu: ['ia32'] }],
  ['@biomejs/cli-darwin-arm64', { os: ['darwin'], cpu: ['arm64'] }],
])('reads the platform of %s from its name', (name, platform) => {
  expect(platformOf(name)).toEqual(platform)
})

test('adds a missing one beside its parent where another version has the place', () => {
  const packages: LockedPackages = {
    '': {},
    'node_modules/a': { optionalDependencies: { 'b-linux-x64': '1.0.0' } },
    'node_modules/c': { dev: true, optionalDependencies: { 'b-linux-x64': '2.0.0' } },
  }

  expect(complete(packages)).toEqual(['node_modules/b-linux-x64', 'node_modules/c/node_modules/b-linux-x64'])
  expect(packages['node_modules/b-linux-x64']).toEqual({
    version: '1.0.0',
    optional: true,
    os: ['linux'],
    cpu: ['x64'],
  })
  expect(packages['node_modules/c/node_modules/b-linux-x64']).toMatchObject({ version: '2.0.0', dev: true })
  expect(complete(packages)).toEqual([])
})

test.each([
  ['a range', 'b-linux-x64', '^1.0.0', "Cannot lock b-linux-x64: '^1.0.0' is a range, not a version"],
  ['a name without platform', 'b', '1.0.0', 'Cannot lock b: its name tells no known system and processor'],
])('refuses to guess from %s', (_what, name, version, message) => {
  const packages = { 'node_modules/a': { optionalDependencies: { [name]: version } } }

  expect(() => complete(packages)).toThrow(message)
})
