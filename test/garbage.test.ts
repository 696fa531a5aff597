import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from '@jest/globals'

const garbageFile = fileURLToPath(new URL('../src/garbage.ts', import.meta.url))

/** V8's own account of the flags that a process has, once the module has set them. */
const script = `
  const { calmGarbageCollections } = await import(process.argv[1])
  calmGarbageCollections()
  ;(await import('node:v8')).setFlagsFromString('--help')`

test('V8 has the flags, and takes them', () => {
  const help = execFileSync(process.execPath, ['--input-type=module', '--eval', script, garbageFile], {
    encoding: 'utf8',
  })

  expect(help).toMatch(
    /--concurrent-marking-max-worker-num .*\n.*type: int.*default: (--concurrent-marking-max-worker-num=)?1\b/,
  )
  expect(help).toMatch(/--heap-growing-percent .*\n.*type: int.*default: (--heap-growing-percent=)?100\b/)
})
